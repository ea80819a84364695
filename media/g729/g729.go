// Package g729 decodes G.729 and its Annexes A and B (8 kbit/s, 8 kHz), in
// builds that ask for it: with the build tag g729 it calls libbcg729 (Debian:
// libbcg729-dev), which is under the GPL, version 3 or later, and so is the
// program that is built with it. Without the tag Available is false, New
// returns nil, and payload type 18 is not accepted.
package g729

// FrameBytes and FrameSamples are the size of a frame of 10 ms; NoiseBytes that
// of a frame of comfort noise (Annex B), which only ends a payload (RFC 3551
// section 4.5.6).
const (
	FrameBytes   = 10
	FrameSamples = 80
	NoiseBytes   = 2
)
