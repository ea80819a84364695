package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// machine is a recorder as the guard sees it: calls cost something, by their
// complexity, and what does not fit makes the media late.
type machine struct {
	*Guard
	now     time.Time
	calls   int
	cost    float64 // of a call at complexity 0, in shares of a worker
	workers int
	backlog time.Duration // of the work that is not done
	log     []string
}

func newMachine(complexity int) *machine {
	m := &machine{Guard: New(complexity), now: time.Unix(1e9, 0), cost: 0.002, workers: 1}
	m.run(every)
	return m
}

// run lets time pass.
func (m *machine) run(d time.Duration) {
	for end := m.now.Add(d); m.now.Before(end); m.now = m.now.Add(every) {
		load := float64(m.calls) * m.cost * relative(m.State().Complexity) / float64(m.workers)
		m.backlog = max(0, m.backlog+time.Duration((load-1)*float64(every)))
		s := Sample{At: m.now, Busy: min(1, load), Late: m.backlog, Sweep: 400 * time.Millisecond, Calls: m.calls, Workers: m.workers}
		if m.backlog > 0 {
			s.Busy = 1
		}
		s.Process = s.Busy
		if st, reason := m.Note(s); reason != "" {
			m.log = append(m.log, fmt.Sprintf("%d %v", st.Complexity, st.Refusing))
		}
	}
}

// offer brings calls, of which those come in that are admitted.
func (m *machine) offer(n int) (taken int) {
	for range n {
		if m.Enter(m.calls) == nil {
			m.calls++
			taken++
			m.Leave()
		}
	}
	return taken
}

func TestLadder(t *testing.T) {
	for _, c := range []struct {
		complexity, calls int
		want              string // steps, each the complexity and whether calls are refused
	}{
		{5, 0, ""}, {5, 180, ""}, {5, 210, "3 false"}, {5, 330, "0 false"}, {5, 480, "0 false, 0 true"},
		{3, 290, "0 false"}, {0, 400, ""}, {0, 440, "0 true"},
		{10, 210, "3 false"}, {10, 150, ""},
	} {
		m := newMachine(c.complexity)
		for m.calls < c.calls {
			m.calls += 10 // slower than Admit would let them in
			m.run(time.Second)
		}
		m.run(10 * time.Second)
		got := strings.Join(m.log, ", ")
		if c.complexity == 10 { // 5 costs the same, and is tried on the way
			got = strings.TrimPrefix(got, "5 false, ")
		}
		if c.complexity == 5 {
			got = strings.TrimPrefix(got, "3 false, ")
			if c.calls == 210 {
				got = strings.Join(m.log, ", ")
			}
		}
		if got != c.want {
			t.Errorf("%d calls at complexity %d: %q, want %q", c.calls, c.complexity, got, c.want)
		}
		if m.backlog > 0 {
			t.Errorf("%d calls at complexity %d: %v behind in the end", c.calls, c.complexity, m.backlog)
		}
	}
}

func TestItActsWithinASecond(t *testing.T) {
	m := newMachine(5)
	m.calls = 220
	m.run(downAfter + 2*every)
	if got := m.State(); got.Complexity != 3 || got.Refusing || got.Down != 1 {
		t.Errorf("%+v", got)
	}
}

func TestALateMomentChangesNothing(t *testing.T) {
	m := newMachine(5)
	m.calls = 50
	m.run(5 * time.Second)
	for range 10 {
		m.now = m.now.Add(every)
		m.Note(Sample{At: m.now, Busy: 0.99, Process: 0.99, Late: 2 * time.Second, Sweep: 400 * time.Millisecond, Calls: 50, Workers: 1})
		m.backlog = 0
		m.run(time.Second)
	}
	if m.State().Down != 0 {
		t.Errorf("%v", m.log)
	}
}

func TestItComesBackSlowly(t *testing.T) {
	m := newMachine(5)
	m.calls = 480
	m.run(10 * time.Second)
	if st := m.State(); !st.Refusing || st.Complexity != 0 || m.Admit(m.calls) == nil {
		t.Fatalf("%+v", st)
	}
	m.calls = 300 // 0.6 at complexity 0, 0.9 at 3
	m.run(openAfter + 2*time.Second)
	if st := m.State(); st.Refusing || st.Complexity != 0 || m.Admit(m.calls) != nil {
		t.Errorf("after the calls are over: %+v", st)
	}
	m.run(2 * upAfter)
	if st := m.State(); st.Complexity != 0 {
		t.Errorf("a step up that does not fit: %+v", st)
	}
	m.calls = 150
	m.run(upAfter / 2)
	if st := m.State(); st.Complexity != 0 {
		t.Errorf("a step up too soon: %+v", st)
	}
	m.run(3 * upAfter)
	if st := m.State(); st.Complexity != 5 || st.Refusing || st.Up != 3 {
		t.Errorf("%+v %v", st, m.log)
	}
	steps := len(m.log)
	m.run(5 * time.Minute)
	if len(m.log) != steps {
		t.Errorf("it does not stay where it is: %v", m.log)
	}
}

// Twice what the machine holds, however it comes: what is taken fits, and is
// never so much behind that the sockets could not hold it.
func TestWhatIsTakenFits(t *testing.T) {
	const holds = 500 // at complexity 0
	for _, rate := range []int{20, 100, 2 * holds} {
		for _, known := range []int{0, 50} {
			m := newMachine(5)
			m.offer(known)
			m.run(5 * time.Second)
			taken, worst := m.calls, time.Duration(0)
			for offered := 0; offered < 2*holds; offered += rate {
				taken += m.offer(rate)
				for range 4 {
					m.run(every)
					worst = max(worst, m.backlog)
				}
			}
			for range 40 {
				m.run(every)
				worst = max(worst, m.backlog)
			}
			if worst > time.Second || m.backlog > 0 {
				t.Errorf("%d a second after %d: %v behind, in the end %v; %v", rate, known, worst, m.backlog, m.log)
			}
			if taken < holds/5 || taken > holds {
				t.Errorf("%d a second after %d: %d taken of a machine that holds %d", rate, known, taken, holds)
			}
		}
	}
}

func TestABurstIsStoppedWhileItBegins(t *testing.T) {
	m := newMachine(5)
	entered := 0
	for range 1000 { // none has media yet
		if m.Enter(m.calls) == nil {
			entered++
		}
	}
	if entered == 0 || entered > 300 {
		t.Errorf("%d at once", entered)
	}
	for range entered {
		m.Leave()
	}
	if m.Admit(m.calls) != nil {
		t.Error("refused although they all failed")
	}
}

func TestWithoutSamplesEveryCallIsTaken(t *testing.T) {
	if g := New(5); g.Admit(100000) != nil {
		t.Error("refused")
	}
}

// TestOthersTakeTheMachine: where it is not our work that makes the media late,
// refusing calls makes no room, and is done only when audio is at risk.
func TestOthersTakeTheMachine(t *testing.T) {
	m := newMachine(5)
	starve := func(late time.Duration) {
		for range 40 {
			m.now = m.now.Add(every)
			m.Note(Sample{At: m.now, Busy: 0.99, Process: 0.1, Late: late, Sweep: 400 * time.Millisecond, Calls: 10, Workers: 1})
		}
	}
	starve(900 * time.Millisecond)
	if st := m.State(); st.Refusing || m.Admit(30) != nil {
		t.Errorf("calls are refused: %+v", st)
	}
	starve(maxLate + time.Second)
	if st := m.State(); !st.Refusing || m.Admit(10) == nil {
		t.Errorf("audio is at risk, and calls are taken: %+v", st)
	}
}
