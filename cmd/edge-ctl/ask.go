package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/options"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

const formatCSV cli.Format = "csv"

// askCommand makes cmd run the ability called name. The protocol is the one that the
// first argument leads to. Help and flags are those of all protocols that have it.
func askCommand(name string, cmd *cobra.Command, formats ...cli.Format) *cobra.Command {
	var examples []string
	for _, p := range protocols.Builtin() {
		if a := p.Ability(name); a != nil {
			cmd.Long += "\n\n" + a.Help
			examples = append(examples, a.Example)
			options.Add(cmd.Flags(), a.Options)
		}
	}
	cmd.Example = strings.Join(examples, "\n")
	cmd.ValidArgsFunction = cli.Complete(envPrefix, endpointNames)
	cmd.Flags().String("protocol", "", "the device's (default: what suits the URL, or the endpoint's drivers)")
	cli.CompleteFlag(cmd, "protocol", cobra.FixedCompletions(protocols.Builtin().Names(), cobra.ShellCompDirectiveNoFileComp))
	addDirectFlag(cmd)
	addPKIFlag(cmd)
	cli.AddOutputFlag(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDevice(cmd, name, append(args, "")[:2], func(ctx context.Context, d device) error {
			d.tell(cmd)
			return ask(ctx, cmd, &d)
		})
	}
	return cmd
}

// usage makes an error about arguments one about usage.
func usage(err error) error {
	if wrong, ok := errors.AsType[*driver.ArgsError](err); ok {
		return cli.Usagef("%w", wrong)
	}
	return err
}

// findings are what an ability found, as a command prints them.
type findings struct {
	items  []driver.Item
	report driver.Report
	steps  []driver.Step // on the way to the device, and those of the report
	last   string        // word on its progress
}

// interrupted is err, or how far the ability was when a signal ended it.
func (f *findings) interrupted(cmd *cobra.Command, name string, err error) error {
	return cli.Interrupted(cmd, err, "the %s is not complete: %s; '%s --help' says how to ask for the rest alone", name,
		cmp.Or(f.last, "nothing was found yet"), cmd.CommandPath())
}

// ask runs the ability and prints what it finds.
func ask(ctx context.Context, cmd *cobra.Command, d *device) error {
	out := cli.NewOutput(cmd)
	progress := cli.NewProgress(cmd, d.name)
	defer progress.Done()
	table := csv.NewWriter(out.Writer())
	isCSV := out.Format == formatCSV
	if isCSV && d.ability.Import == nil {
		return cli.Usagef("-o csv: what %s shows of protocol %s is not a list of variables", d.name, d.protocol.Name)
	}
	if isCSV {
		_ = table.Write(d.ability.Import) // the first error of a Writer is that of all
	}
	var f findings
	steps, report, err := d.ask(ctx, func(e driver.Event) error {
		switch {
		case e.Item == nil:
			f.last = e.Progress
			progress.Set(e.Progress)
		case !isCSV:
			f.items = append(f.items, *e.Item)
		case e.Item.Import != nil:
			return table.Write(cells(e.Item.Import))
		}
		return nil
	})
	progress.Done()
	err = f.interrupted(cmd, d.name, err)
	if isCSV {
		table.Flush()
		return cmp.Or(err, table.Error())
	}
	f.report, f.steps = report, append(steps, report.Steps...)
	return f.print(cmd, out, d, err)
}

// cells are texts of a device as a table has them: neither a terminal nor a spreadsheet
// obeys them.
func cells(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = visible.Cell(visible.Text(text))
	}
	return out
}

// print shows the findings; err is why they end early.
func (f *findings) print(cmd *cobra.Command, out *cli.Output, d *device, err error) error {
	single := d.name == driver.AbilityProbe // one answer: how it came counts
	if single {
		for _, s := range f.steps {
			cmd.PrintErrln(cli.Printable(stageOf(s).line()))
		}
	}
	for _, h := range f.report.Hints {
		cmd.PrintErrln("hint: " + cli.Printable(h))
	}
	if err != nil && (single || len(f.items) == 0) {
		return err
	}
	doc, derr := f.document(d, single)
	if derr != nil {
		return derr
	}
	if perr := out.Print(doc, func(t *cli.Table) { f.table(t, d.ability.Columns, single) }); perr != nil {
		return perr
	}
	if out.Format == cli.FormatTable {
		for _, fact := range f.report.Facts {
			cmd.PrintErrf("%-12s %s\n", cli.Printable(fact.Name), cli.Printable(fact.Value))
		}
	}
	if err == nil && f.report.Failure != "" {
		err = cli.Exit(cli.Failed, errors.New(f.report.Failure))
	}
	return err
}

// table fills in what people see.
func (f *findings) table(t *cli.Table, columns []driver.Column, single bool) {
	if single && len(f.items) == 0 {
		return // the command ends with why
	}
	rows := make([][]string, len(f.items))
	for i := range f.items {
		rows[i] = f.items[i].Cells
	}
	fillTable(t, columns, rows)
}

// fillTable shows rows under columns.
func fillTable(t *cli.Table, columns []driver.Column, rows [][]string) {
	var names, kept []string
	for _, c := range columns {
		names = append(names, c.Name)
		if c.Keep {
			kept = append(kept, c.Name)
		}
	}
	t.Header(names...)
	t.Keep(kept...)
	for _, row := range rows {
		cells := make([]cli.Cell, min(len(row), len(columns)))
		for i := range cells {
			cells[i] = cli.Cell{Text: row[i], Right: columns[i].Right}
		}
		t.Cells(cells...)
	}
}

// document is what programs see: the report's document with what is known of every
// device, or the list of the items' documents.
func (f *findings) document(d *device, single bool) (any, error) {
	if !single {
		list := []json.RawMessage{}
		for _, item := range f.items {
			list = append(list, item.Document)
		}
		return list, nil
	}
	var stages []stage
	for _, s := range f.steps {
		stages = append(stages, stageOf(s))
	}
	return join(
		struct {
			URL string `json:"url"`
		}{d.url},
		f.report.Document,
		struct {
			Endpoint string   `json:"endpoint,omitempty"` // of the gateway that asked
			Stages   []stage  `json:"stages"`
			Hints    []string `json:"hints,omitempty"` // settings that would suit the device
		}{d.owner.GetId(), append([]stage{}, stages...), f.report.Hints})
}

// join makes one object of several, in their order.
func join(parts ...any) (json.RawMessage, error) {
	all := []byte{'{'}
	for _, part := range parts {
		doc, ok := part.(json.RawMessage)
		if !ok {
			var err error
			if doc, err = driver.Document(part); err != nil {
				return nil, err
			}
		}
		if doc = bytes.TrimSpace(doc); len(doc) < 2 || doc[0] != '{' || !json.Valid(doc) {
			if len(doc) == 0 {
				continue
			}
			return nil, fmt.Errorf("the protocol's document is no JSON object: %.100q", doc)
		}
		if inner := bytes.TrimSpace(doc[1 : len(doc)-1]); len(inner) > 0 {
			if len(all) > 1 {
				all = append(all, ',')
			}
			all = append(all, inner...)
		}
	}
	return append(all, '}'), nil
}
