package theft

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"siprecd/cmd/torture/rig"
)

// planted is E1. The log is at its most talkative.
func planted(l *rig.Lab) error {
	s, err := begin(l, "log.level=debug")
	if err != nil {
		return err
	}
	list, rows, err := plant(l, s, l.Rounds, 400*time.Millisecond)
	if err != nil {
		return err
	}
	n := of(list)
	live, files, err := n.inFolder(s.Dir) // with its databases open
	if err != nil {
		return err
	}
	for _, r := range rows[:min(3, len(rows))] { // reading must leave nothing either
		if _, err := s.Export(r.ID); err != nil {
			return err
		}
	}
	text, err := s.Do("list", "--json")
	if err != nil {
		return err
	}
	l.Control("numbers in the list, where they belong", hits(n, list, []byte(text)), len(list))
	if code := s.Stop(syscall.SIGTERM); code != 0 {
		l.Logf("the server ended with %d", code)
	}
	closed, _, err := n.inFolder(s.Dir)
	if err != nil {
		return err
	}
	log := n.in([]byte(s.Output()))
	l.Logf("%d calls, %d files, %d bytes of log at debug", len(list), files, len(s.Output()))
	for _, f := range [][]string{live, closed, log} {
		if len(f) > 0 {
			l.Logf("found: %s", few(f))
		}
	}
	l.Count("found in the files while it runs", len(live), 0)
	l.Count("found in the files after its stop", len(closed), 0)
	l.Count("found in the log at debug", len(log), 0)
	return leaky(l, n, list)
}

// hits is how many callers' numbers are found.
func hits(n *needles, list []caller, data []byte) (count int) {
	found := map[string]bool{}
	for _, w := range n.in(data) {
		found[w] = true
	}
	for _, c := range list {
		if found[c.number[1:]] {
			count++
		}
	}
	return count
}

// leaky is the control: files that leak, each in another way, must be caught.
func leaky(l *rig.Lab, n *needles, list []caller) error {
	c := list[len(list)/2]
	forms := map[string]string{
		"a log":         "level=DEBUG msg=invite from=sip:" + c.number + "@192.0.2.7\n",
		"a dump":        "\x00\x01" + c.name + "\x00",
		"a Call-ID":     "Call-ID: " + c.callID + "\r\n",
		"an address":    `{"aor":"` + c.aor + `"}`,
		"a file's name": "",
	}
	caught := 0
	for what, text := range forms {
		dir := filepath.Join(l.Dir, "leak")
		name := "x"
		if text == "" {
			name = c.number
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
		found, _, err := n.inFolder(dir)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			caught++
		} else {
			l.Logf("not caught: %s", what)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	l.Control("leaks that were planted", caught, len(forms))
	return nil
}
