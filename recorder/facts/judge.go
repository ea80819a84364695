package facts

import (
	"fmt"
	"strings"
)

// Judge turns the facts into problems and one sentence.
func (s *Status) Judge() {
	for _, c := range s.Checks {
		if !c.OK {
			s.Problems = append(s.Problems, "New calls are refused: "+c.Error+".")
		}
	}
	for _, a := range s.Alarms {
		s.Problems = append(s.Problems, a.sentence())
	}
	if s.Journal.Missed > 0 {
		s.Problems = append(s.Problems, "Audio of live calls is lost: the disk has been away for too long.")
	}
	lossy := len(s.Problems) > 0 // what follows costs no call, now
	for _, f := range s.Faults {
		s.Problems = append(s.Problems, strings.ToUpper(f.Text[:1])+f.Text[1:]+".")
	}
	s.OK = len(s.Problems) == 0
	switch {
	case s.Draining != nil:
		s.Sentence = fmt.Sprintf("Draining: new calls are refused; %s left to end.", count(s.Draining.Left, "call"))
	case !lossy && !s.OK:
		s.Sentence = "Calls are being recorded, but something is wrong: " + strings.TrimSuffix(s.Problems[0], ".") + more(len(s.Problems)) + "."
	case !s.OK:
		s.Sentence = "Not everything that should be recorded is being recorded: " + strings.TrimSuffix(s.Problems[0], ".") + more(len(s.Problems)) + "."
	case len(s.Calls) == 0:
		s.Sentence = "Ready: everything that should be recorded will be; no call is live."
	default:
		s.Sentence = fmt.Sprintf("Everything that should be recorded is being recorded: %s%s.", count(len(s.Calls), "call"), s.Load.reduced())
	}
}

// sentence is an alarm in words.
func (a Alarm) sentence() string {
	where := fmt.Sprintf("the %s channel of a call on %s", a.Channel, lineName(a.Line))
	switch a.Kind {
	case "undecryptable":
		return fmt.Sprintf("Media on %s cannot be decrypted (recording %s).", where, a.Call)
	case "not taken":
		return fmt.Sprintf("A stream of a call on %s is offered and cannot be recorded, %s: see its flags (recording %s).", lineName(a.Line), a.Leg, a.Call)
	case "silent":
		return fmt.Sprintf("Only silence on %s (recording %s).", where, a.Call)
	case "one-way":
		return fmt.Sprintf("No media on %s, but on its other side: one-way (recording %s).", where, a.Call)
	}
	return fmt.Sprintf("No media on %s (recording %s).", where, a.Call)
}

// reduced tells that calls are encoded more cheaply than they were meant to be;
// nothing of them is lost by that.
func (l Load) reduced() string {
	if l.Complexity >= l.Configured {
		return ""
	}
	return fmt.Sprintf(", encoded at complexity %d instead of %d because the machine is busy", l.Complexity, l.Configured)
}

// more says how many problems follow the first.
func more(problems int) string {
	if problems < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", problems-1)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what + " live"
	}
	return fmt.Sprintf("%d %ss live", n, what)
}

func lineName(line string) string {
	if line == "" {
		return "an unidentified line"
	}
	return line
}
