package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/version"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

const (
	formatText  cli.Format = "text"
	formatSARIF cli.Format = "sarif"
)

func newLint() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint DIR|FILE…",
		Short: "Check tables and gateway.yml, all findings at once",
		Long: `lint reads tables and gateway.yml and prints everything that is wrong or doubtful,
sorted, one line each: file:line:column: severity: message (rule).

In a directory it checks endpoints.yml, drivers.yml, variables.yml, settings.yml
and gateway.yml. If there is only a gateway.yml, it also checks the tables that this
file names. It doesn't miss tables that you did not name: variables.yml alone is
checked without its drivers.

Errors end it with 1. Warnings do so only with --strict.`,
		Example: `  edge-cfg lint ./config
  edge-cfg lint variables.yml drivers.yml
  edge-cfg lint --strict -o json ./config`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := cli.Reading(cmd, "checking the tables", func() *lint.Result { return lint.Paths(args...) })
			if err != nil {
				return err
			}
			out := cli.NewOutput(cmd)
			if err := writeFindings(cmd, out, res); err != nil {
				return err
			}
			errs, warnings := res.Findings.Count()
			if errs > 0 || strict && warnings > 0 {
				return cli.Exit(cli.Failed, nil)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings too")
	cli.AddOutputFlag(cmd, formatText, cli.FormatJSON, cli.FormatYAML, formatSARIF)
	return cmd
}

// writeFindings prints the result in the format that was asked for.
func writeFindings(cmd *cobra.Command, out *cli.Output, res *lint.Result) error {
	switch out.Format {
	case cli.FormatJSON:
		return lint.WriteJSON(out.Writer(), res.Findings)
	case cli.FormatYAML:
		return out.Print(append(config.Findings{}, res.Findings...), nil)
	case formatSARIF:
		return lint.WriteSARIF(out.Writer(), res.Findings, version.String())
	}
	style := lint.Style{Source: cli.IsTerminal(out.Writer()), Color: cli.ColorEnabled(cmd, out.Writer())}
	if err := lint.WriteText(out.Writer(), res.Findings, style); err != nil {
		return err
	}
	return writeSummary(out.Writer(), res)
}

// writeSummary ends the text with what was checked and how it went.
func writeSummary(w io.Writer, res *lint.Result) error {
	var checked []string
	if s := res.Snapshot; s != nil {
		for _, t := range config.AllTables() {
			if n := s.Len(t); n > 0 {
				checked = append(checked, words.Count(n, strings.TrimSuffix(string(t), "s")))
			}
		}
	}
	errs, warnings := res.Findings.Count()
	what := words.Count(len(res.Files), "file")
	if len(checked) > 0 {
		what += ": " + strings.Join(checked, ", ")
	}
	var err error
	switch {
	case errs > 0:
		_, err = fmt.Fprintf(w, "✗ %s, %s (%s)\n", words.Count(errs, "error"), words.Count(warnings, "warning"), what)
	case warnings > 0:
		_, err = fmt.Fprintf(w, "✓ OK, with %s (%s)\n", words.Count(warnings, "warning"), what)
	default:
		_, err = fmt.Fprintf(w, "✓ OK (%s)\n", what)
	}
	return err
}
