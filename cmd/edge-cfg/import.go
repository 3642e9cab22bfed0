package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// imported is the result of import and gen.
type imported struct {
	File    string `json:"file"`
	Added   int    `json:"added"`
	Changed int    `json:"changed"`
	Same    int    `json:"same"`
}

func newImport() *cobra.Command {
	var into, driver string
	cmd := &cobra.Command{
		Use:   "import FILE.csv --into DIR",
		Short: "Merge variables from a spreadsheet into DIR's variables.yml",
		Long: `import lays the rows of a CSV file over the variables of the same tags and adds the
others; none is removed, and comments stay. The config center isn't touched.

The first line names the columns: tag, driver_id, access, type, addr, addr2, len, bit,
byte, chars, node, area, db, start, size, datatype, byte_order, charset, pad, scale,
scale_from, na, unit, deadband, report, heartbeat, polling, merge, block_start,
block_len. An empty cell changes nothing. A new variable without access is
read-only (R), without type a holding register.

It reads what spreadsheets write: with a byte order mark, in UTF-16 or GBK, separated
by semicolons or tabs, with decimal commas then.`,
		Example: `  edge-cfg import points.csv --into ./config --driver press-4`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			s, err := readSheet(raw)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return mergeVariables(cmd, into, func(v *variables) error {
				for i, row := range s.rows {
					if err := v.importRow(s, row, driver); err != nil {
						return fmt.Errorf("%s: line %d: %w", args[0], s.lines[i], err)
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "the `directory` of the tables")
	cmd.Flags().StringVar(&driver, "driver", "", "driver_id of the rows that have none (`ID`)")
	if err := cmd.MarkFlagRequired("into"); err != nil {
		panic(err) // the flag was added above
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// variables are those of a file, about to change.
type variables struct {
	items map[string][]byte // canonical
	seen  map[string]bool   // changed or added by this command
	res   imported
}

func (v *variables) importRow(s *sheet, row []string, driver string) error {
	fields := map[string]any{}
	if err := s.variable(row, fields); err != nil {
		return err
	}
	tag, _ := fields["tag"].(string)
	if tag == "" {
		return errors.New("there is no tag")
	}
	item := map[string]any{}
	if old, ok := v.items[tag]; ok {
		var err error
		if item, err = plainTree(old); err != nil {
			return err
		}
	} else {
		item["access"], item["address"] = "R", map[string]any{}
		where, _ := fields["address"].(map[string]any)
		if where["node"] == nil && where["db"] == nil { // those say what type it is
			config.SetAt(item, []string{"address", "type"}, "holding")
		}
	}
	if item["driver_id"] == nil && driver != "" {
		item["driver_id"] = driver
	}
	if err := s.variable(row, item); err != nil {
		return err
	}
	return v.put(tag, item)
}

// put adds or replaces a variable.
func (v *variables) put(tag string, item map[string]any) error {
	if v.seen[tag] {
		return fmt.Errorf("tag %s is there twice", tag)
	}
	v.seen[tag] = true
	raw, err := json.Marshal(item)
	if err != nil {
		return err
	}
	if raw, err = config.Variables.Canonical(tag, raw); err != nil {
		return err
	}
	old, ok := v.items[tag]
	switch {
	case !ok:
		v.res.Added++
	case string(old) == string(raw):
		v.res.Same++
	default:
		v.res.Changed++
	}
	v.items[tag] = raw
	return nil
}

// mergeVariables changes the variables.yml of dir, or makes it. It is written whole
// or, if anything is wrong, not at all.
func mergeVariables(cmd *cobra.Command, dir string, edit func(*variables) error) error {
	path := filepath.Join(dir, config.Variables.FileName())
	v := &variables{items: map[string][]byte{}, seen: map[string]bool{}, res: imported{File: path}}
	text, err := os.ReadFile(path)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if exists {
		snap, _, findings := config.ReadFiles(path)
		if err := reportFindings(cmd, findings); err != nil {
			return err
		}
		for _, it := range snap.Document().Items(config.Variables) {
			v.items[it.ID] = it.JSON
		}
	}
	if err := edit(v); err != nil {
		return err
	}
	items := make([]config.Item, 0, len(v.items))
	for id, raw := range v.items {
		items = append(items, config.Item{ID: id, JSON: raw})
	}
	doc, err := config.NewDocument(map[config.Table][]config.Item{config.Variables: items})
	if err != nil {
		return err
	}
	if exists {
		text, err = mergeTable(path, text, config.Variables, doc)
	} else {
		text, err = tableYAML(doc, config.Variables)
	}
	if err != nil {
		return err
	}
	if err := writeFile(path, text, 0o644); err != nil {
		return err
	}
	return cli.NewOutput(cmd).Print(v.res, func(t *cli.Table) {
		t.Row(fmt.Sprintf("%s: %d added, %d changed, %d the same", path, v.res.Added, v.res.Changed, v.res.Same))
	})
}
