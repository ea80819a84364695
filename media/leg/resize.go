package leg

import "math"

// resize plays src in the time of dst, one sample more or less: cubic
// interpolation at positions spread evenly from the first to the last sample.
func resize(dst, src []int16) {
	last := len(src) - 1
	scale := float64(last) / float64(len(dst)-1)
	for i := range dst {
		x := float64(i) * scale
		k := min(int(x), last)
		dst[i] = clip(cubic(src, k, x-float64(k)))
	}
}

// cubic is the Catmull-Rom spline through src between samples k and k+1.
func cubic(src []int16, k int, f float64) float64 {
	last := len(src) - 1
	a, b := float64(src[max(0, k-1)]), float64(src[k])
	c, d := float64(src[min(last, k+1)]), float64(src[min(last, k+2)])
	return b + f/2*(c-a+f*(2*a-5*b+4*c-d+f*(3*(b-c)+d-a)))
}

func clip(v float64) int16 {
	return int16(math.Round(max(-32768, min(32767, v))))
}
