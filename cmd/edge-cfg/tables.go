package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// readTables reads and lints the tables at path. Findings go to standard error;
// errors among them are the command's. With force, only what can't be read at all
// is an error: the rest is for the gateways to refuse.
func readTables(cmd *cobra.Command, path string, force bool) (*tables.Files, error) {
	l, err := tables.Find(path)
	if err == nil {
		err = l.CheckPushable()
	}
	if err != nil {
		return nil, err
	}
	if force {
		failed, err := cli.Reading(cmd, "reading the tables", l.ReadRaw)
		return l, cmp.Or(err, failed)
	}
	findings, err := cli.Reading(cmd, "checking the tables", l.Lint)
	if err != nil {
		return nil, err
	}
	return l, reportFindings(cmd, findings)
}

// reportFindings prints findings for a person. Errors end the command with 1.
func reportFindings(cmd *cobra.Command, findings config.Findings) error {
	w := cmd.ErrOrStderr()
	style := lint.Style{Source: cli.IsTerminal(w), Color: cli.ColorEnabled(cmd, w)}
	if err := lint.WriteText(w, findings, style); err != nil {
		return err
	}
	if errs, _ := findings.Count(); errs > 0 {
		return fmt.Errorf("%s in the tables", words.Count(errs, "error"))
	}
	return nil
}

// checkDocument lints a document that came from no files. Only errors are told:
// its warnings are not what the person is about.
func checkDocument(cmd *cobra.Command, doc *config.Document) error {
	return reportFindings(cmd, tables.Errors(doc))
}
