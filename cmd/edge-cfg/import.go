package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// imported is the result of import and gen.
type imported struct {
	File    string   `json:"file"`  // that new variables go to
	Files   []string `json:"files"` // that were written
	Added   int      `json:"added"`
	Changed int      `json:"changed"`
	Same    int      `json:"same"`
}

func newImport() *cobra.Command {
	var into, driver string
	var opts tables.SheetOptions
	cmd := &cobra.Command{
		Use:   "import FILE.csv --into DIR",
		Short: "Merge variables from a spreadsheet into DIR's variables",
		Long: `import lays the rows of a CSV file over the variables of the same tags and adds the
others; none is removed, and comments stay. A variable stays in the file that holds
it, new ones go to variables.yml. The config center isn't touched.

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
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			s, note, err := tables.ReadSheet(raw, opts)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if note != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is read as %s\n", args[0], cli.Printable(note))
			}
			return editVariables(cmd, into, func(v *tables.Variables) error {
				if err := v.Import(s, driver); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "the `directory` of the tables")
	cmd.Flags().StringVar(&opts.Encoding, "encoding", "", "the file's encoding, where it doesn't say (`NAME`: windows-1252, gbk, …)")
	cmd.Flags().StringVar(&opts.Decimal, "decimal", "", "the decimal sign of numbers, where it can't be told (`.|,`)")
	cmd.Flags().StringVar(&driver, "driver", "", "driver_id of the rows that have none (`ID`)")
	if err := cmd.MarkFlagRequired("into"); err != nil {
		panic(err) // the flag was added above
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// editVariables changes the variables of dir. If anything is wrong, no file is written.
func editVariables(cmd *cobra.Command, dir string, edit func(*tables.Variables) error) error {
	v, findings, err := tables.OpenVariables(dir)
	if err != nil {
		return err
	}
	if err := reportFindings(cmd, findings); err != nil {
		return err
	}
	if err := edit(v); err != nil {
		return err
	}
	files, err := v.Save()
	if err != nil {
		return err
	}
	res := imported{v.Path(), files, v.Added, v.Changed, v.Same}
	return cli.NewOutput(cmd).Print(res, func(t *cli.Table) {
		where := strings.Join(files, ", ")
		if where == "" {
			where = res.File
		}
		t.Row(fmt.Sprintf("%s: %d added, %d changed, %d the same", where, res.Added, res.Changed, res.Same))
	})
}
