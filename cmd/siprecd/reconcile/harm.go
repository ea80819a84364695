package reconcile

import "slices"

// missing are the flags by which the recorder and the store say that sound of a
// call is not in its recording. They are part of the manifest's format; other
// flags tell of what is odd, and all of the sound is there.
func missing() []string {
	return []string{
		"no media",
		"one-way media",
		"media that could not be decrypted",
		"media fault",
		"frames not encoded",
		"audio not stored",
		"stream not recorded",
		"stream without a port",
		"stream without a codec we play",
		"stream refused for its media security",
	}
}

// harm are those of a recording's flags that say that sound is missing, each
// once.
func harm(flags []string) (out []string) {
	known := missing()
	for _, f := range flags {
		if slices.Contains(known, f) && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}
