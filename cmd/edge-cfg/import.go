package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/options"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
	"github.com/edge-gateway/edge-gateway/pkg/xlsx"
)

// imported is the result of import and gen.
type imported struct {
	File    string   `json:"file"`  // that new variables go to
	Files   []string `json:"files"` // that were written
	Added   int      `json:"added"`
	Changed int      `json:"changed"`
	Same    int      `json:"same"`

	Left      []driver.LeftOut `json:"left,omitempty"`      // what could not be taken
	Conflicts []string         `json:"conflicts,omitempty"` // what a person should look at
}

// mostConflicts bounds how many are shown to people.
const mostConflicts = 20

func newImport() *cobra.Command {
	var im importing
	cmd := &cobra.Command{
		Use:   "import FILE… --into DIR",
		Short: "Merge variables from a spreadsheet, or from what a tool exports, into DIR's variables",
		Long: `import lays the rows of a CSV or xlsx file over the variables of the same tags and adds
the others; none is removed, and comments stay. A variable stays in the file that holds
it, new ones go to variables.yml. The config center isn't touched. It says how many are
new, changed and the same, and where the file is in conflict with what was there: a tag
that leads to another address than before, an address that another tag has already.

The first line names the columns: tag, driver_id, access, type, addr, addr2, len, bit,
byte, chars, node, area, db, start, size, datatype, byte_order, charset, pad, scale,
scale_from, na, unit, deadband, report, heartbeat, polling, merge, block_start,
block_len; verify_type, verify_addr and so on are the fields of verify_address. An
empty cell changes nothing. A new variable without access is read-only (R), without
type a holding register.

It reads what spreadsheets write: UTF-8, UTF-16 with its mark, or what --encoding says;
separated by commas, semicolons or tabs, or by what a first line "sep=;" says. With
semicolons and tabs numbers have decimal commas; where a number can be read in two
ways (1.000), it asks for --decimal. Nothing is guessed: of a file that is not UTF-8
it shows how a line of it would be read.`,
		Example: `  edge-cfg import points.csv --into ./config --driver press-4`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    im.run,
	}
	for _, p := range protocols.Builtin() {
		if p.Import != nil {
			cmd.Long += "\n\n" + p.Import.Help
			cmd.Example += "\n" + p.Import.Example
			options.Add(cmd.Flags(), p.Import.Options)
		}
	}
	cmd.Flags().StringVar(&im.into, "into", "", "the `directory` of the tables")
	cmd.Flags().StringVar(&im.opts.Encoding, "encoding", "", "the file's encoding, where it doesn't say (`NAME`: windows-1252, gbk, …)")
	cmd.Flags().StringVar(&im.opts.Decimal, "decimal", "", "the decimal sign of numbers, where it can't be told (`.|,`)")
	cmd.Flags().StringVar(&im.driver, "driver", "", "driver_id of the rows that have none (`ID`)")
	if err := cmd.MarkFlagRequired("into"); err != nil {
		panic(err) // the flag was added above
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// importing is an import that was asked for.
type importing struct {
	into, driver string
	opts         tables.SheetOptions
	left         []driver.LeftOut
}

func (im *importing) run(cmd *cobra.Command, names []string) error {
	files, by, err := im.read(cmd, names)
	if err != nil {
		return err
	}
	if by == nil {
		return im.sheet(cmd, files[0])
	}
	found, err := by.Import.Read(files, options.Given(cmd.Flags(), by.Import.Options, ""))
	if wrong, ok := errors.AsType[*driver.ArgsError](err); ok {
		return cli.Usagef("%w", wrong)
	}
	if err != nil {
		return err
	}
	im.left = found.Left
	for _, l := range im.left {
		cmd.PrintErrln(cli.Printable(leftOut(l)))
	}
	if len(found.Rows) == 0 {
		return fmt.Errorf("%s: no variable in it can be imported", strings.Join(names, ", "))
	}
	s, err := tables.NewSheet(found.Columns, found.Rows)
	if err != nil {
		return err
	}
	return im.edit(cmd, func(v *tables.Variables) error { return v.Import(s, im.driver) })
}

// leftOut says what could not be taken, as lint says what it finds.
func leftOut(l driver.LeftOut) string {
	name := ""
	if l.Name != "" {
		name = l.Name + ": "
	}
	what := "not taken: "
	if l.Note {
		what = "look at it: "
	}
	return fmt.Sprintf("%s:%d: %s%s%s", l.File, l.Line, name, what, l.Why)
}

// read reads the files, and finds the protocol that they are of; nil: a spreadsheet of
// variables.
func (im *importing) read(cmd *cobra.Command, names []string) (files []driver.ImportFile, by *driver.Protocol, err error) {
	left := int64(maxImport)
	for i, name := range names {
		f := driver.ImportFile{Name: name}
		if f.Data, err = readImport(name, left); err != nil {
			return nil, nil, err
		}
		left -= int64(len(f.Data))
		this, err := im.owner(cmd, &f)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		if i > 0 && (this == nil || by == nil || this.Name != by.Name) {
			return nil, nil, cli.Usagef("%s and %s are of different kinds: import one after the other", names[0], name)
		}
		files, by = append(files, f), this
	}
	return files, by, nil
}

// maxImport bounds the files of one import, in bytes: as much as a table may have.
const maxImport = 256 << 20

// readImport reads a file of at most limit bytes, or what a pipe has to its end.
func readImport(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: one import takes %d MiB, and this is more: import it in parts", name, maxImport>>20)
	}
	return data, err
}

// owner returns the protocol that knows a file, whose text is UTF-8 then; nil: none does.
func (im *importing) owner(cmd *cobra.Command, f *driver.ImportFile) (*driver.Protocol, error) {
	raw, extension := f.Data, strings.ToLower(filepath.Ext(f.Name))
	if extension == ".xlsx" && !xlsx.Is(raw) {
		return nil, errors.New("it is not a spreadsheet file (xlsx): save it as one, without a password")
	}
	for _, p := range protocols.Builtin() {
		if p.Import == nil || !slices.Contains(p.Import.Extensions, extension) {
			continue
		}
		note := ""
		if !xlsx.Is(raw) {
			var err error
			if f.Data, note, err = im.opts.Decode(raw); err != nil {
				return nil, err
			}
		}
		if p.Import.Knows(*f) {
			readAs(cmd, f.Name, note)
			return &p, nil
		}
		f.Data = raw
	}
	return nil, nil
}

// readAs tells how a file is read, if that was not plain.
func readAs(cmd *cobra.Command, name, note string) {
	if note != "" {
		cmd.PrintErrf("%s is read as %s\n", name, cli.Printable(note))
	}
}

// sheet merges a spreadsheet of variables.
func (im *importing) sheet(cmd *cobra.Command, f driver.ImportFile) error {
	s, note, err := tables.ReadSheet(f.Data, im.opts)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	readAs(cmd, f.Name, note)
	return im.edit(cmd, func(v *tables.Variables) error {
		if err := v.Import(s, im.driver); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		return nil
	})
}

func (im *importing) edit(cmd *cobra.Command, edit func(*tables.Variables) error) error {
	return editVariables(cmd, im.into, im.left, edit)
}

// editVariables changes the variables of dir. If anything is wrong, no file is written.
func editVariables(cmd *cobra.Command, dir string, left []driver.LeftOut, edit func(*tables.Variables) error) error {
	type opened struct {
		v        *tables.Variables
		findings config.Findings
		err      error
	}
	o, err := cli.Reading(cmd, "reading "+dir, func() (o opened) {
		o.v, o.findings, o.err = tables.OpenVariables(dir)
		return o
	})
	if err = cmp.Or(err, o.err); err != nil {
		return err
	}
	v := o.v
	if err := reportFindings(cmd, o.findings); err != nil {
		return err
	}
	p := cli.NewProgress(cmd, "merging into "+dir)
	defer p.Done()
	if err := edit(v); err != nil {
		return err
	}
	files, err := v.Save(cmd.Context())
	if err != nil {
		return cli.Interrupted(cmd, err, "no file was changed")
	}
	p.Done()
	res := imported{v.Path(), files, v.Added, v.Changed, v.Same, left, v.Conflicts()}
	for i, c := range res.Conflicts {
		if i == mostConflicts {
			cmd.PrintErrf("conflict: … %d more; -o json lists all\n", len(res.Conflicts)-i)
			break
		}
		cmd.PrintErrf("conflict: %s\n", cli.Printable(c))
	}
	return cli.NewOutput(cmd).Print(res, func(t *cli.Table) {
		where := strings.Join(files, ", ")
		if where == "" {
			where = res.File
		}
		t.Row(fmt.Sprintf("%s: %d added, %d changed, %d the same", where, res.Added, res.Changed, res.Same))
	})
}
