package proc

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const line = "30785 (a) (b c)) S 1 30785 30785 0 -1 4194560 2480 0 0 0 152 48 7 9 20 0 12 0 1145423 1264 4096\n"
	got, err := parseStat([]byte(line))
	if err != nil || got != 2*time.Second {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 a b 1 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\tsiprecd\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t  100 kB\nRssFile:\t  100 kB\n"
	got, err := parseStatus([]byte(text))
	if want := (Memory{Resident: 200 << 10, Anonymous: 100 << 10, Peak: 300 << 10}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseStatus([]byte("VmRSS:\t200 kB\n")); err == nil {
		t.Error("fields are missing, and nothing is said")
	}
}

func TestParseMachine(t *testing.T) {
	was, err := parseMachine([]byte("cpu  100 10 50 1000 20 1 2 5 7 0\ncpu0 1 2 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	now, err := parseMachine([]byte("cpu  200 10 50 1100 30 1 2 15 7 0\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Machine{Busy: time.Second, Stole: 100 * time.Millisecond, Total: 2200 * time.Millisecond}
	if got := now.Since(was); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := parseMachine([]byte("intr 1 2 3\n")); err == nil {
		t.Error("no cpu line, and nothing is said")
	}
}

func TestThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	for before, err := CPU(os.Getpid()); ; {
		now, err2 := CPU(os.Getpid())
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if now > before {
			break
		}
	}
	m, err := MemoryOf(os.Getpid())
	if err != nil || m.Resident < m.Anonymous || m.Peak < m.Anonymous || m.Anonymous < 1<<20 {
		t.Errorf("%+v, %v", m, err)
	}
	if all, err := Read(); err != nil || all.Total < all.Busy || all.Busy == 0 {
		t.Errorf("%+v, %v", all, err)
	}
}
