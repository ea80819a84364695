//go:build !g729

package g729

// Available says whether this build decodes G.729.
const Available = false

// Decoder is one stream's.
type Decoder struct{}

// New makes a decoder; nil in this build.
func New() *Decoder { return nil }

// Decode does nothing in this build.
func (*Decoder) Decode([]int16, []byte) error { return nil }

// Conceal does nothing in this build.
func (*Decoder) Conceal([]int16, []byte) error { return nil }
