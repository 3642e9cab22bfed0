package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/overlay"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// renderedFiles is the result of render.
type renderedFiles struct {
	Gateway   string   `json:"gateway"`
	Groups    []string `json:"groups"`
	Suspended bool     `json:"suspended,omitempty"`
	SHA256    string   `json:"sha256"`
	Files     []string `json:"files"`
}

func newRender() *cobra.Command {
	var gateway, into string
	cmd := &cobra.Command{
		Use:   "render DIR --gateway ID --into DIR",
		Short: "Write the tables that one gateway of a fleet runs",
		Long: `render reads the tables of a fleet: the base (endpoints.yml, drivers.yml,
variables.yml, settings.yml), what groups of gateways have different (groups.yml),
and what single gateways have (gateways.yml). It writes what one gateway runs as
plain tables. They can be pushed to a prefix that only this gateway follows, or be
its configuration directory.

It replaces only files that it has written itself. A suspended gateway gets empty
tables. No config center is needed.`,
		Example: `  edge-cfg render fleet/ --gateway lyon-01 --into out/lyon-01
  edge-cfg --prefix /edge/lyon-01 push out/lyon-01 -m "from fleet/"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if gateway == "" || into == "" {
				return cli.Usagef("render takes --gateway ID and --into DIR")
			}
			f, r, err := renderGateway(cmd, args[0], gateway)
			if err != nil {
				return err
			}
			files, err := f.WriteInto(cmd.Context(), into, r)
			if err != nil {
				return err
			}
			res := renderedFiles{r.Gateway, append([]string{}, r.Variant.Groups...), r.Suspended, r.Runs().SHA256(), files}
			return cli.NewOutput(cmd).Print(res, func(t *cli.Table) { t.Row(res.text(r, into)) })
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "the gateway's `ID` in gateways.yml")
	cmd.Flags().StringVar(&into, "into", "", "the `DIR` that gets the tables")
	completeFleet(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

// text says in a line what was written.
func (res renderedFiles) text(r *overlay.Rendered, into string) string {
	what := "suspended: empty tables"
	if !res.Suspended {
		var counts []string
		for _, t := range config.Tables() {
			if n := len(r.Runs().Items(t)); n > 0 {
				counts = append(counts, words.Count(n, t.Singular()))
			}
		}
		what = strings.Join(counts, ", ")
	}
	return fmt.Sprintf("%s: %s in %s (%s)", res.Gateway, what, into, res.SHA256[:12])
}

// renderGateway renders one gateway of a fleet's directory. What is wrong with it is
// printed; errors among it are the command's.
func renderGateway(cmd *cobra.Command, dir, id string) (*tables.Fleet, *overlay.Rendered, error) {
	f, findings, err := tables.OpenFleet(dir)
	if err != nil {
		return nil, nil, err
	}
	var r *overlay.Rendered
	if f != nil {
		if r, err = f.Render(id); err != nil {
			return nil, nil, cli.Usagef("%w", err)
		}
		findings = append(findings, f.Check(r)...)
		findings.Sort()
	}
	return f, r, reportFindings(cmd, findings)
}

// showGateway prints what key names of the tables that a gateway runs.
func showGateway(cmd *cobra.Command, dir, id string, key tables.Key, origin bool) error {
	f, r, err := renderGateway(cmd, dir, id)
	if err != nil {
		return err
	}
	if !origin {
		return printTables(cmd, r.Runs(), key)
	}
	list, err := f.Origins(r, key)
	if err != nil {
		return err
	}
	out := cli.NewOutput(cmd)
	if out.Format != cli.FormatJSON {
		out.Format = cli.FormatTable
	}
	return out.Print(list, func(t *cli.Table) {
		t.Header("FIELD", "VALUE", "FROM", "PLACE")
		for _, o := range list {
			value, err := json.Marshal(o.Value)
			if err != nil {
				value = []byte("?") // not reached: it came from JSON
			}
			t.Row(o.Key, string(value), o.Layer, fmt.Sprintf("%s:%d", o.File, o.Line))
		}
	})
}

// diffGateway shows what a gateway's layers make different from the base.
func diffGateway(cmd *cobra.Command, dir, id string) (differs bool, err error) {
	f, r, err := renderGateway(cmd, dir, id)
	if err != nil {
		return false, err
	}
	return printDiff(cmd, side{SHA256: f.Base().SHA256()}, side{SHA256: r.Runs().SHA256()}, tables.Compare(f.Base(), r.Runs()))
}
