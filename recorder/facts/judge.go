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
	for _, c := range s.Calls {
		for _, l := range c.Legs {
			if l.Blocked {
				s.Problems = append(s.Problems, fmt.Sprintf("Media on the %s channel of a call on %s cannot be decrypted (recording %s).",
					l.Channel, lineName(c.Line), c.ID))
			} else if l.NoMedia {
				s.Problems = append(s.Problems, fmt.Sprintf("No media on the %s channel of a call on %s (recording %s).",
					l.Channel, lineName(c.Line), c.ID))
			}
		}
	}
	if s.Journal.Missed > 0 {
		s.Problems = append(s.Problems, "Audio of live calls is lost: the disk has been away for too long.")
	}
	s.OK = len(s.Problems) == 0
	switch {
	case !s.OK:
		s.Sentence = "Not everything that should be recorded is being recorded: " + strings.TrimSuffix(s.Problems[0], ".") + more(len(s.Problems)) + "."
	case len(s.Calls) == 0:
		s.Sentence = "Ready: everything that should be recorded will be; no call is live."
	default:
		s.Sentence = fmt.Sprintf("Everything that should be recorded is being recorded: %s.", count(len(s.Calls), "call"))
	}
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
