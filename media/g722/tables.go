package g722

// The tables of ITU-T G.722. They are never changed.
var (
	// lowLog and highLog are what a code adds to the logarithm of its band's
	// step (WL, WH); lowStep and highStep choose among them (RIL, RIH).
	lowLog   = [8]int32{-60, -30, 58, 172, 334, 538, 1198, 3042}
	lowStep  = [16]uint8{0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0}
	highLog  = [3]int32{0, -214, 798}
	highStep = [4]uint8{2, 1, 2, 1}

	// inverse is the antilogarithm (ILB).
	inverse = [32]int32{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
		2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}

	// upper, coarse and fine are the inverse quantisers with 2, 4 and 6 bits
	// (QM2, QM4, QM6), in units of the step.
	upper  = [4]int32{-7408, -1616, 7408, 1616}
	coarse = [16]int32{
		0, -20456, -12896, -8968, -6288, -4240, -2584, -1200,
		20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
	}
	fine = [64]int32{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704,
		-14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576,
		-3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192,
		10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032,
		1688, 1360, 1040, 728, 432, 136, -432, -136,
	}

	// synthesis is every other coefficient of the quadrature mirror filter;
	// the others are the same in reverse.
	synthesis = [12]int32{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}
)
