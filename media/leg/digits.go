package leg

// keys are the events that are keys of a telephone, by their code (RFC 4733
// section 3.2).
const keys = "0123456789*#ABCD!"

// maxDigits bounds what one stream keeps.
const maxDigits = 1000

// press notes the key of an event packet. All packets of one event bear the
// time stamp of its beginning.
func (t *Track) press(e *entry) {
	if !t.digits.wanted || len(e.data) < 4 || int(e.data[0]) >= len(keys) || len(t.digits.list) >= maxDigits {
		return
	}
	if d := &t.digits; !d.any || d.ts != e.ts || d.ssrc != e.ssrc {
		d.any, d.ts, d.ssrc = true, e.ts, e.ssrc
		d.list = append(d.list, Digit{
			Stream: t.stats.Name, Side: t.stats.Side, At: Duration(e.at + t.clock.offset), Key: keys[e.data[0]],
		})
	}
}

// digits are the keys pressed so far, if they are to be kept.
type digits struct {
	wanted, any bool
	ts, ssrc    uint32 // of the latest
	list        []Digit
}

// Digits are the keys that were pressed while the configuration asked for them.
func (t *Track) Digits() []Digit { return t.digits.list }
