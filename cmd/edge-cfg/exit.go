package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// The exit codes that edge-cfg has in addition to those of package cli.
const (
	exitConflict   = 3 // somebody else pushed meanwhile
	exitNotApplied = 4 // committed, but not applied everywhere
	exitDiffers    = 5 // diff --exit-code
)

// withExitCodes gives the errors of root's commands their exit codes.
func withExitCodes(root *cobra.Command) *cobra.Command {
	for _, cmd := range root.Commands() {
		withExitCodes(cmd)
	}
	if run := root.RunE; run != nil {
		root.RunE = func(cmd *cobra.Command, args []string) error { return withExitCode(run(cmd, args)) }
	}
	return root
}

// withExitCode is the one place that says which error ends edge-cfg with which code.
func withExitCode(err error) error {
	var (
		coded      *cli.ExitError
		store      *center.StoreError
		conflict   *center.ConflictError
		edited     *tables.EditedError
		notApplied *center.NotAppliedError
		usage      *tables.UsageError
	)
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.As(err, &store):
		return cli.Exit(cli.Unreachable, err)
	case errors.As(err, &conflict), errors.As(err, &edited):
		return cli.Exit(exitConflict, err)
	case errors.As(err, &notApplied):
		return cli.Exit(exitNotApplied, err)
	case errors.As(err, &usage):
		return cli.Exit(cli.Usage, err)
	}
	return err
}
