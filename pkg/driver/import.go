package driver

// Import is what a protocol reads of the files that engineering tools export: the points of
// a device. No device is asked.
type Import struct {
	Help    string // a paragraph for the command's help, without a line's end
	Example string // lines for the command's help
	Options []Option
	// Extensions are those of the files, in small letters: ".xlsx", ".db".
	Extensions []string
	// Knows reports whether a file of such a name is one of the protocol's. Text is UTF-8.
	Knows func(ImportFile) bool
	// Read reads files that belong together. Its error is of a file as a whole, or an
	// [ArgsError].
	Read func(files []ImportFile, a Args) (Imported, error)
}

// ImportFile is a file that was exported.
type ImportFile struct {
	Name string
	Data []byte
}

// Imported is what is in files.
type Imported struct {
	Columns []string   // of a sheet of variables
	Rows    [][]string // under them, one for each variable
	Left    []LeftOut
}

// LeftOut is what could not be taken, and why.
type LeftOut struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
	Note bool   `json:"note,omitempty"` // it was taken, and should be looked at
}
