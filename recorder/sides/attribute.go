package sides

import (
	"siprecd/media"
	"siprecd/siprec/sdp"
)

// Seat is where a media line is heard, and whether the metadata says so.
type Seat struct {
	Side  media.Side
	Named bool
}

// Attribute gives every media line its side: by the metadata (named) where a
// party sends it, else the one it had, else the first audio line is the caller's
// and the rest are ours. Metadata that would put all of several audio lines on
// one side (a label that stands twice, a stream that two parties send) tells
// nothing. sure is false where a line got its side by its place.
func Attribute(offer *sdp.Description, named func(i int, label string) (media.Side, bool), had func(i int) (Seat, bool)) (seats []Seat, sure bool) {
	seats, sure = make([]Seat, len(offer.Media)), true
	var audio []int
	heard := map[media.Side]bool{}
	for i, m := range offer.Media {
		if m.Kind != "audio" {
			continue
		}
		of, ok := named(i, m.Label)
		seat, old := had(i)
		switch {
		case ok:
		case old:
			of, ok = seat.Side, seat.Named
		case len(audio) == 1 && seats[audio[0]].Named: // the other side of the one that is known
			of = other(seats[audio[0]].Side)
		case len(audio) > 0:
			of = media.Right
		}
		sure = sure && ok
		seats[i], heard[of] = Seat{of, ok}, true
		audio = append(audio, i)
	}
	if len(audio) > 1 && len(heard) == 1 {
		sure = false
		byOrder(audio, seats)
	}
	return seats, sure
}

// byOrder gives the first audio line to the caller and the rest to us.
func byOrder(audio []int, seats []Seat) {
	for n, i := range audio {
		seats[i] = Seat{Side: when(n > 0)}
	}
}

func other(s media.Side) media.Side { return when(s == media.Left) }
