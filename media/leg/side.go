package leg

// moved is when a stream last went over to another side.
type moved struct {
	at     int64 // on the timeline, at SampleRate
	before Side
}

// Sides is where the stream is heard: on before up to a place on the timeline
// (at SampleRate), on after from there. What a party said before it changed
// its channel stays where it was said, also when it is encoded only later.
func (t *Track) Sides() (before Side, at int64, after Side) {
	return t.moved.before, t.moved.at, t.stats.Side
}

// move notes a change of the side.
func (t *Track) move(to Side, at int64) {
	if to != t.stats.Side {
		t.moved = moved{at, t.stats.Side}
	}
	t.stats.Side = to
}
