package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the config center and say what to do about what is wrong",
		Long: `doctor looks at etcd, the records, the documents, the item keys, and the gateways.
It changes nothing. Errors end it with 1; warnings don't.`,
		Example: `  edge-cfg doctor`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				found, err := s.Doctor(ctx)
				printErr := cli.NewOutput(cmd).Print(found, func(t *cli.Table) {
					t.Header("CHECK", "HEALTH", "MESSAGE")
					for _, d := range found {
						t.Cells(cli.Cell{Text: d.Check}, healthCell(d.Health), cli.Cell{Text: d.Message})
					}
				})
				if err != nil || printErr != nil {
					return errors.Join(err, printErr)
				}
				for _, d := range found {
					if d.Health == center.Sick {
						return cli.Exit(cli.Failed, nil)
					}
				}
				return nil
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func healthCell(h center.Health) cli.Cell {
	color := cli.Green
	switch h {
	case center.Doubt:
		color = cli.Yellow
	case center.Sick:
		color = cli.Red
	}
	return cli.Cell{Text: string(h), Color: color}
}
