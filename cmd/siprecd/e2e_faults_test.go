package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/recorder"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// toldWithin is how soon the status names a fault, and its end.
const toldWithin = 10 * time.Second

// injected is one row of the table: what is broken, under which name the status
// tells of it, and whether new calls are refused while it lasts.
type injected struct {
	name, told string
	refuses    bool
	inject     func(t *testing.T, s *server) (mend func())
	lasts      time.Duration // told for so long after it is mended; 0: no longer
}

// names are all that a status tells to be wrong.
func names(st recorder.Status) (out []string) {
	for _, c := range st.Checks {
		if !c.OK {
			out = append(out, c.Name)
		}
	}
	for _, a := range st.Alarms {
		out = append(out, a.Kind)
	}
	for _, f := range st.Faults {
		out = append(out, f.Name)
	}
	return out
}

// moved renames a file away, and back.
func moved(path string) func(*testing.T, *server) func() {
	return func(t *testing.T, s *server) func() {
		from := filepath.Join(s.dir, path)
		rename(t, from, from+".away")
		return func() { rename(t, from+".away", from) }
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// replaced puts something else in the place of a file or folder, and takes it
// out again.
func replaced(path string) func(*testing.T, *server) func() {
	return func(t *testing.T, s *server) func() {
		mend := moved(path)(t, s)
		if err := os.WriteFile(filepath.Join(s.dir, path), []byte("something else\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Remove(filepath.Join(s.dir, path)); err != nil {
				t.Fatal(err)
			}
			mend()
		}
	}
}

// calling places calls that last until the fault is mended.
func calling(o func() siprectest.Options) func(*testing.T, *server) func() {
	return func(t *testing.T, s *server) func() {
		ctx, cancel := context.WithCancel(t.Context())
		opts := o()
		opts.Target, opts.Duration, opts.Timeout = "tcp://"+s.tcp, time.Minute, 2*time.Second
		done := place(t, ctx, opts)
		return func() { cancel(); <-done }
	}
}

func legs(change func(l []siprectest.Leg)) func() siprectest.Options {
	return func() siprectest.Options {
		l := tones()
		change(l)
		return siprectest.Options{Legs: l}
	}
}

// datagrams sends the same thing many times from one address, for the fault's
// whole time.
func datagrams(from, text string, n int) func(*testing.T, *server) func() {
	return func(t *testing.T, s *server) func() {
		to, err := net.ResolveUDPAddr("udp", s.udp)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range n {
			if _, err := conn.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		return func() {}
	}
}

// callFaults are those of calls.
func callFaults() []injected {
	return []injected{
		{name: "one leg without media", told: "one-way", inject: calling(legs(func(l []siprectest.Leg) { l[1].Start = time.Hour }))},
		{name: "no media at all", told: "no media", inject: calling(func() siprectest.Options {
			return siprectest.Options{Legs: tones(), Faults: siprectest.Faults{NoMedia: true}}
		})},
		{name: "a muted leg", told: "silent", inject: calling(legs(func(l []siprectest.Leg) { l[0].Audio = audio.Tone(440, -120) }))},
		{name: "wrong media keys", told: "undecryptable", inject: calling(legs(func(l []siprectest.Leg) {
			l[0].SRTP = siprectest.SRTP{Suites: []string{"AES_CM_128_HMAC_SHA1_80"}, WrongKey: true}
		}))},
		{name: "all media ports in use", told: "ports", refuses: true, inject: calling(func() siprectest.Options {
			return siprectest.Options{Legs: tones(), Calls: 5}
		})},
	}
}

// machineFaults are those around the recorder.
func machineFaults() []injected {
	return []injected{
		{name: "control socket gone", told: "socket", inject: moved("siprecd.sock")},
		{name: "lock gone", told: "lock", inject: moved("lock")},
		{name: "lock replaced", told: "lock", inject: replaced("lock")},
		{name: "host key gone", told: "keys", inject: moved("keys/host.key")},
		{name: "recipients gone", told: "keys", inject: moved("keys/recipients")},
		{name: "configuration changed", told: "configuration", inject: replaced("siprecd.yaml")},
		{name: "account cannot be saved", told: "completeness", inject: func(t *testing.T, s *server) func() {
			mend := replaced("completeness")(t, s)
			end := calling(legs(func([]siprectest.Leg) {}))(t, s)
			return func() { end(); mend() }
		}},
		{name: "segments cannot be written", told: "store", refuses: true, inject: func(t *testing.T, s *server) func() {
			mend := replaced("recordings")(t, s)
			end := calling(legs(func([]siprectest.Leg) {}))(t, s)
			await(t, "a live call", toldWithin, func() bool { return len(s.status().Calls) == 1 })
			end()
			return mend
		}},
		{name: "few descriptors left", told: "descriptors", inject: func(t *testing.T, s *server) func() {
			var old unix.Rlimit
			open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
			if err != nil {
				t.Skip("the process's descriptors cannot be counted: ", err)
			}
			few := unix.Rlimit{Cur: uint64(len(open)) + 40, Max: uint64(len(open)) + 4096}
			if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &few, &old); err != nil {
				t.Skip("limits of a process cannot be changed: ", err)
			}
			return func() {
				few.Cur = few.Max
				if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
					t.Error(err)
				}
			}
		}},
		{name: "messages that are no SIP", told: "malformed", inject: datagrams("127.0.0.1", "INVITE sip:x SIP/2.0\r\nThis is no header\r\n\r\n", 200), lasts: 12 * time.Second},
		{name: "certificate expires soon", told: "certificate", inject: func(t *testing.T, s *server) func() {
			s.ca.issueUntil("recorder", 101, time.Now().Add(3*time.Hour))
			return func() { s.ca.issueUntil("recorder", 102, time.Now().Add(40*time.Hour)) }
		}},
		{name: "certificate expired", told: "certificate", inject: func(t *testing.T, s *server) func() {
			s.ca.issueUntil("recorder", 103, time.Now().Add(-time.Hour))
			return func() { s.ca.issueUntil("recorder", 104, time.Now().Add(40*time.Hour)) }
		}},
		{name: "new certificate is no good", told: "certificate", inject: func(t *testing.T, s *server) func() {
			if err := os.WriteFile(s.ca.path("recorder.pem"), []byte("no certificate"), 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { s.ca.issueUntil("recorder", 105, time.Now().Add(40*time.Hour)) }
		}},
	}
}

// check injects a fault, and polls the status until it names it, and again
// until it no longer does.
func (f injected) check(t *testing.T, s *server) {
	t.Helper()
	if before := names(s.status()); slices.Contains(before, f.told) {
		t.Fatalf("%s is told before it happens: %q", f.told, before)
	}
	began := time.Now()
	mend := f.inject(t, s)
	mended := false
	defer func() {
		if !mended {
			mend()
		}
	}()
	var st recorder.Status
	await(t, "the status to name "+f.told, toldWithin+2*time.Second, func() bool { st = s.status(); return slices.Contains(names(st), f.told) })
	told := time.Since(began)
	if told > toldWithin {
		t.Errorf("it was told after %v", told)
	}
	if st.OK || len(st.Problems) == 0 {
		t.Errorf("the status says that all is well: %q", st.Sentence)
	}
	if code := s.get("/readyz"); (code == 503) != f.refuses {
		t.Errorf("/readyz says %d", code)
	}
	mended = true
	mend()
	over := time.Now()
	await(t, "the status to be well again", toldWithin+f.lasts, func() bool { return !slices.Contains(names(s.status()), f.told) })
	t.Logf("%s: named after %v, cleared after %v", f.told, told.Round(100*time.Millisecond), time.Since(over).Round(100*time.Millisecond))
}

// TestStatusNamesEveryFault is row G5, but for the faults of a disk, below, and
// those that only package sentinel can play: a stepped clock, a lost address,
// little memory, a backlog.
func TestStatusNamesEveryFault(t *testing.T) {
	t.Parallel()
	for group, list := range map[string][]injected{"calls": callFaults(), "machine": machineFaults()} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			ca.issueUntil("recorder", 100, time.Now().Add(40*time.Hour))
			s := newServer(t, "alarms.no_media=4s", "alarms.silence=4s", "alarms.certificate=5h", "sip.tls.certificate="+ca.path("recorder.pem"), "sip.tls.key="+ca.path("recorder.key"))
			s.ca = ca
			low := mediaPorts(t)
			s.sets = append(s.sets, fmt.Sprintf("media.ports=%d-%d", low, low+25), "shutdown.drain=0s",
				"sip.listen=[udp://"+s.udp+", tcp://"+s.tcp+", tls://127.0.0.1:"+freePort(t)+"]")
			s.start()
			for _, f := range list {
				t.Run(f.name, func(t *testing.T) {
					was := s.t
					s.t = t
					defer func() { s.t = was }()
					f.check(t, s)
				})
			}
		})
	}
}

// TestStatusNamesASilentClient and a stranger, who is shown in the table of
// clients and makes nothing wrong.
func TestStatusNamesASilentClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, "alarms.quiet=5s", "sip.peers=[127.0.0.1]")
	s.start()
	raw := s.dialRaw("127.0.0.1")
	raw.options()
	began := time.Now()
	await(t, "the silence to be told", 15*time.Second, func() bool { return slices.Contains(names(s.status()), "client") })
	if took := time.Since(began); took > 5*time.Second+toldWithin {
		t.Errorf("told after %v", took)
	}
	raw.options()
	await(t, "the silence to be over", toldWithin, func() bool { return !slices.Contains(names(s.status()), "client") })
	datagrams("127.0.0.9", "OPTIONS sip:x SIP/2.0\r\n\r\n", 1)(t, s)
	await(t, "the stranger to be shown", toldWithin, func() bool { st := s.status(); return st.OK && st.Strangers.Last == "127.0.0.9" })
}

// TestStatusNamesEveryFaultOfADisk has a disk of its own: it is filled and it
// is frozen.
func TestStatusNamesEveryFaultOfADisk(t *testing.T) {
	t.Parallel()
	s := newServer(t, "store.reserve=24MiB", "shutdown.drain=0s")
	if os.Getuid() != 0 {
		t.Skip("only root can mount a disk")
	}
	image, mounted := filepath.Join(t.TempDir(), "disk.img"), filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"truncate", "-s", "128M", image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, mounted}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no disk can be made here: %v: %v\n%s", c, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mounted).Run() })
	if out, err := exec.Command("cp", "-a", s.dir, mounted+"/data").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.dir = mounted + "/data"
	s.start()
	fill := func(leave int64) func(*testing.T, *server) func() {
		return func(t *testing.T, s *server) func() {
			var fs unix.Statfs_t
			if err := unix.Statfs(s.dir, &fs); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(mounted + "/ballast")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-leave); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Remove(f.Name()); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for _, f := range []injected{
		{name: "less than the reserve", told: "disk", refuses: true, inject: fill(20 << 20)},
		{name: "frozen", told: "journal", refuses: true, inject: func(t *testing.T, s *server) func() {
			end := calling(legs(func([]siprectest.Leg) {}))(t, s)
			await(t, "a live call", toldWithin, func() bool { return len(s.status().Calls) == 1 })
			if out, err := exec.Command("fsfreeze", "-f", mounted).CombinedOutput(); err != nil {
				end()
				t.Skipf("%v %s", err, out)
			}
			return func() {
				if out, err := exec.Command("fsfreeze", "-u", mounted).CombinedOutput(); err != nil {
					t.Errorf("%v %s", err, out)
				}
				end()
			}
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			was := s.t
			s.t = t
			defer func() { s.t = was }()
			f.check(t, s)
		})
	}
	s.kill(syscall.SIGTERM)
	if !strings.Contains(s.run("list"), "Council tax") {
		t.Error("nothing was recorded")
	}
}
