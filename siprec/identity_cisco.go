package siprec

import (
	"slices"
	"strconv"
	"strings"
)

// Two ways in which Cisco equipment names the parties without metadata.

// nbrHeader is what CUBE's network-based recording sends: one header a party,
// <uri>;media-index="n", where n is the index of the m-line with its voice.
const nbrHeader = "X-Cisco-Recording-Participant"

// nbrParticipant finds the party of the m-line.
func nbrParticipant(index int) func(*view) []string {
	want := strconv.Itoa(index)
	return func(v *view) []string {
		for _, h := range v.fields[strings.ToLower(nbrHeader)] {
			for rest := h; rest != ""; {
				var one string
				one, rest, _ = cutUnquoted(rest, ',')
				if parameter(one, "media-index") == want {
					return []string{address(one)}
				}
			}
		}
		return nil
	}
}

// nearEnd finds the directory number of CUCM's built-in bridge recording: the
// user of the From header in either of its two dialogs. The dialog with
// x-nearend carries that party's voice, the one with x-farend the other's.
func nearEnd(v *view) []string {
	if fromHas(v, "x-nearend") || fromHas(v, "x-farend") {
		return header("From")(v)
	}
	return nil
}

// fromHas says that a From header has a parameter of that name, without value.
func fromHas(v *view, name string) bool {
	return slices.ContainsFunc(v.fields["from"], func(f string) bool {
		return slices.Contains(strings.FieldsFunc(strings.ToLower(f), func(c rune) bool {
			return strings.ContainsRune("<>; ", c)
		}), name)
	})
}

// ciscoParties are the parties of a request without metadata. Neither kind of
// recording has labels: the place of the m-line says who is heard.
func ciscoParties(v *view) []Party {
	var out []Party
	for i := range 2 {
		if a := nbrParticipant(i)(v); a != nil {
			p := party("media-index "+strconv.Itoa(i), "", a, nil)
			p.Line = i + 1
			out = append(out, p)
		}
	}
	switch {
	case fromHas(v, "x-nearend"):
		p := party("nearend", "", nearEnd(v), nil)
		p.Line, p.Role = 1, Near
		out = append(out, p)
	case fromHas(v, "x-farend"):
		p := party("farend", "", fromParam("x-farendaddr")(v), nil)
		p.Line, p.Role = 1, Far
		out = append(out, p)
	}
	return out
}

// refci finds the pair of call references that both dialogs of a CUCM call
// carry, in an order that does not depend on the dialog.
func refci(v *view) []string {
	near, far := fromParam("x-refci")(v), fromParam("x-farendrefci")(v)
	pair := slices.Concat(near, far)
	if len(near) == 0 {
		return nil
	}
	slices.Sort(pair)
	return []string{strings.Join(pair, "-")}
}
