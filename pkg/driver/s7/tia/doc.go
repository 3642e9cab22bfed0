// Package tia reads what Siemens' engineering tools export: lists of PLC tags, and the
// sources of data blocks and types.
//
// The address of a member of a data block is not in its source. It follows from the rules
// by which STEP 7 and TIA Portal lay out a block with standard access:
//
//   - A Bool takes the next bit of the byte that the Bool before it is in.
//   - A value of one byte takes the next byte, a longer one the next even byte.
//   - An array, a structure and a text begin at an even byte, and so does what follows them.
//
// A block with optimized access has no addresses. Where a rule does not say where a member
// is, or the size of a type isn't known, that member and all behind it in the block are left
// out, each with its reason.
package tia

import "fmt"

// Point is a value with its address.
type Point struct {
	File string
	Line int
	Name string // the parts of its name with points between them
	Type string // as engineers write it, in capitals: BOOL, STRING, DATE_AND_TIME
	Len  int    // of a text: characters
	Area string // DB, I, Q, M, T, C
	DB   int
	Byte int // or the number of a timer or counter
	Bit  int // -1: none
	// Count is how many elements an array has; 0: it is none.
	Count int
}

// Left is what could not be taken, and why; or, as a Note, what was taken and should be
// looked at.
type Left struct {
	File string
	Line int
	Name string // "" if it is the file's, or the block's
	Why  string
	Note bool
}

func (l Left) String() string {
	if l.Name == "" {
		return fmt.Sprintf("%s:%d: %s", l.File, l.Line, l.Why)
	}
	return fmt.Sprintf("%s:%d: %s: %s", l.File, l.Line, l.Name, l.Why)
}

// Found is what is in files.
type Found struct {
	Points []Point
	Left   []Left
}

func (f *Found) leave(file string, line int, name, why string, args ...any) {
	f.Left = append(f.Left, Left{File: file, Line: line, Name: name, Why: fmt.Sprintf(why, args...)})
}

// mostPoints bounds what is taken of files.
const mostPoints = 200_000
