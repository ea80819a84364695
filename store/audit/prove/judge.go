package prove

import (
	"fmt"
	"path"

	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/audit"
)

// maxFaults is how many places are named in one tree; after them only that
// there are more.
const maxFaults = 20

// judge says what is wrong with a tree, and where.
func (v *verifier) judge(t *reading) {
	places := t.places()
	switch {
	case len(t.bad) > 0 && len(places) == 0:
		v.unplaced(t)
	case len(t.bad) == 0 && len(places) > 0 && places[0].leaf < t.good:
		p := places[0]
		v.hashes(t, p.leaf)
	case len(t.bad) == 0 && len(places) == 0 && t.misfit >= 0:
		v.hashes(t, t.misfit)
	default:
		for i, p := range places {
			if i == maxFaults {
				v.report(t.name+audit.LogSuffix, Edited, p.leaf, "and %d more places", len(places)-i)
				break
			}
			v.place(t, p)
		}
		v.outsideFails(t)
	}
}

// hashes tells that the leaves are right and the file beside them is not.
func (v *verifier) hashes(t *reading, leaf int64) {
	v.report(t.name+audit.HashSuffix, Damaged, leaf, "the hashes with leaf %d are not right; the leaf is. Remove the file: the next start makes it anew", leaf)
}

// outsideFails adds that a checkpoint from outside does not hold: that is what
// whoever brought it asked.
func (v *verifier) outsideFails(t *reading) {
	for _, m := range t.bad {
		if m.outside {
			v.report(t.name+audit.LogSuffix, Rebuilt, -1, "%s is not of this log as it stands: %s", m.who, m.Short())
			return
		}
	}
}

// place tells one place.
func (v *verifier) place(t *reading, p place) {
	f := Fault{File: path.Join(audit.Dir, t.name+audit.LogSuffix), Kind: p.kind, Leaf: p.leaf, Err: fmt.Errorf("%s", p.text)}
	if p.line >= 0 && p.line < t.n {
		f.Recording = t.events[p.line].recording
	}
	v.o.Found(f)
}

// unplaced tells marks that do not hold although log and hashes agree.
func (v *verifier) unplaced(t *reading) {
	file, m := t.name+audit.LogSuffix, t.bad[0]
	switch last := t.bad[len(t.bad)-1]; {
	case t.n < m.N:
		v.report(file, Truncated, t.n, "it ends after leaf %d, and %s has %d: the newest %d leaves are missing", t.n-1, last.who, last.N, last.N-t.n)
	default:
		v.report(file, Rebuilt, t.good, "leaves %d to %d are not those that were signed: %s at %d leaves does not hold, and the hashes beside the log were made to fit",
			t.good, m.N-1, m.who, m.N)
		if t.n < last.N {
			v.report(file, Truncated, t.n, "it ends after leaf %d, and %s has %d", t.n-1, last.who, last.N)
		}
	}
}

// place is a difference between the lines of a log and its stored hashes.
type place struct {
	kind string
	leaf int64 // as it was
	line int64 // where it is now; -1: nowhere
	text string
}

// places finds where lines and stored hashes part, and what happened there.
// Lines behind the end of the hash file are not judged: it is written after
// them. Without a hash file the leaves' own numbers are all there is.
func (t *reading) places() []place {
	if len(t.stored) == 0 {
		return t.byNumber()
	}
	m := &matching{t: t, moved: map[int]bool{}}
	for m.i < len(t.leaves) && m.j < len(t.stored) {
		if t.leaves[m.i] == t.stored[m.j] || m.moved[m.j] {
			m.i, m.j = m.i+1, m.j+1
			continue
		}
		m.step()
	}
	if m.j < len(t.stored) && !m.moved[m.j] {
		m.out = append(m.out, place{Truncated, int64(m.j), -1, span(m.j, len(t.stored)-1, "is", "are") + " missing at the end"})
	}
	return append(m.out, t.behind(m.i)...)
}

// matching goes along lines and stored leaves.
type matching struct {
	t       *reading
	is, was map[tlog.Hash]int // where a leaf is, and where it was
	moved   map[int]bool      // stored leaves whose move has been told
	i, j    int               // the next line, the next stored leaf
	out     []place
}

// index notes where each leaf is and was; most logs have no difference, and
// need no index.
func (m *matching) index() {
	m.is, m.was = map[tlog.Hash]int{}, map[tlog.Hash]int{}
	for i, h := range m.t.leaves {
		m.is[h] = i
	}
	for i, h := range m.t.stored {
		m.was[h] = i
	}
}

// step tells one difference and goes behind it.
func (m *matching) step() {
	if m.is == nil {
		m.index()
	}
	i, j := m.i, m.j
	now, here := m.is[m.t.stored[j]]
	old, known := m.was[m.t.leaves[i]]
	here, known = here && now > i, known && old > j
	p := place{leaf: int64(j), line: int64(i)}
	switch {
	case here && known && now-i == old-j: // each where the other was
		p.kind, p.text = Swapped, fmt.Sprintf("leaf %d and leaf %d have changed places", j, old)
		m.moved[old] = true
		m.i, m.j = i+1, j+1
	case known && (!here || old-j <= now-i):
		p.kind, p.text = Deleted, span(j, old-1, "is", "are")+" missing"
		m.j = old
	case here:
		p.kind, p.text = Inserted, fmt.Sprintf("%d line(s) that were never written stand before leaf %d", now-i, j)
		m.i = now
	default:
		p.kind, p.text = Edited, fmt.Sprintf("leaf %d is not what was written", j)
		m.i, m.j = i+1, j+1
	}
	m.out = append(m.out, p)
}

// behind finds lines behind the hash file that cannot have been written.
func (t *reading) behind(from int) (out []place) {
	for i := from; i < len(t.leaves); i++ {
		if e := t.events[i]; e.n != int64(i) && len(out) <= maxFaults {
			out = append(out, place{Edited, int64(i), int64(i), fmt.Sprintf("line %d is not leaf %d", i+1, i)})
		}
	}
	return out
}

// byNumber finds lines that are not the leaf that belongs there.
func (t *reading) byNumber() (out []place) {
	want := int64(0)
	for i, e := range t.events {
		p := place{leaf: want, line: int64(i)}
		switch {
		case e.n == want:
			want++
			continue
		case e.n > want:
			p.kind, p.text = Deleted, fmt.Sprintf("%s missing", span(int(want), int(e.n-1), "is", "are"))
			want = e.n + 1
		case e.n < 0:
			p.kind, p.text = Edited, fmt.Sprintf("leaf %d is not what was written", want)
			want++
		default:
			p.kind, p.text = Inserted, fmt.Sprintf("leaf %d stands where leaf %d belongs", e.n, want)
		}
		out = append(out, p)
	}
	return out
}

// span names one leaf, or some.
func span(first, last int, one, many string) string {
	if first >= last {
		return fmt.Sprintf("leaf %d %s", first, one)
	}
	return fmt.Sprintf("leaves %d to %d %s", first, last, many)
}
