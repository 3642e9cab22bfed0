package tia

// elementary is a type that is built in.
type elementary struct {
	bits int  // 0: a text, whose length says it
	wide bool // begins at an even byte
}

// elementaryOf returns the type of that name, in capitals.
func elementaryOf(name string) (e elementary, ok bool) {
	switch name {
	case "BOOL":
		return elementary{bits: 1}, true
	case "BYTE", "CHAR", "SINT", "USINT":
		return elementary{bits: 8}, true
	case "WORD", "INT", "UINT", "DATE", "S5TIME", "WCHAR", "TIMER", "COUNTER", "BLOCK_FB", "BLOCK_FC", "BLOCK_DB", "BLOCK_SDB":
		return elementary{bits: 16, wide: true}, true
	case "DWORD", "DINT", "UDINT", "REAL", "TIME", "TIME_OF_DAY", "TOD":
		return elementary{bits: 32, wide: true}, true
	case "POINTER":
		return elementary{bits: 48, wide: true}, true
	case "LWORD", "LINT", "ULINT", "LREAL", "LTIME", "LTIME_OF_DAY", "LTOD", "DATE_AND_TIME", "DT", "LDT", "DATE_AND_LTIME":
		return elementary{bits: 64, wide: true}, true
	case "ANY":
		return elementary{bits: 80, wide: true}, true
	case "DTL":
		return elementary{bits: 96, wide: true}, true
	case "STRING", "WSTRING":
		return elementary{wide: true}, true
	}
	return e, false
}

// textBytes is how many bytes a text of n characters takes, with its lengths before it.
func textBytes(name string, n int) int {
	if name == "WSTRING" {
		return 4 + 2*n
	}
	return 2 + n
}

// typ is the type of a member.
type typ struct {
	name    string // elementary, in capitals; or "" for a structure
	text    int    // characters of a text
	udt     string // a type that has a name
	members []member
	dims    []dim // of an array

	optimized bool // of a block: it has no addresses
}

// dim is one dimension of an array.
type dim struct{ lo, hi int }

func (d dim) len() int { return d.hi - d.lo + 1 }

// member is a part of a structure or block.
type member struct {
	file string
	line int
	name string
	typ  typ
}

// block is a data block of a source.
type block struct {
	file   string
	line   int
	name   string // without quotes
	number int    // 0: the source does not say it
	typ    typ
	broken *Left // why nothing behind its members was read
}
