package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newDoctor() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the config center and say what to do about what is wrong",
		Long: `doctor looks at etcd, the records, the documents, the item keys, and the gateways.
It changes nothing. Errors end it with 1; warnings don't.

--repair first rebuilds a lost or damaged commit record from the releases, and then
writes the documents and item keys as the commit says. It makes no new release:
gateways keep what they run.`,
		Example: `  edge-cfg doctor
  edge-cfg doctor --repair`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := onStore(cmd, func(ctx context.Context, s *center.Store) error {
				if repair {
					if err := runRepair(ctx, cmd, s); err != nil {
						return err
					}
				}
				var found []center.Diagnosis
				err := cli.During(cmd, "examining", func() (err error) {
					found, err = s.Doctor(ctx)
					return err
				})
				if printErr := printDiagnoses(cmd, found); err != nil || printErr != nil {
					return errors.Join(err, printErr)
				}
				for _, d := range found {
					if d.Health == center.Sick {
						return cli.Exit(cli.Failed, nil)
					}
				}
				return nil
			})
			if errors.Is(err, center.ErrUnavailable) {
				return errors.Join(err, printMembers(cmd))
			}
			return err
		},
	}
	cli.AddOutputFlag(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "put right what can be put right from what the store has")
	return cmd
}

func printDiagnoses(cmd *cobra.Command, found []center.Diagnosis) error {
	return cli.NewOutput(cmd).Print(found, func(t *cli.Table) {
		t.Header("CHECK", "HEALTH", "MESSAGE")
		t.Keep("MESSAGE")
		for _, d := range found {
			t.Cells(cli.Cell{Text: d.Check}, healthCell(d.Health), cli.Cell{Text: d.Message})
		}
	})
}

// printMembers says which servers of a store that can't be used are up.
func printMembers(cmd *cobra.Command) error {
	cfg, err := storeConfig(cmd)
	if err != nil {
		return err
	}
	return printDiagnoses(cmd, center.Members(cmd.Context(), cfg))
}

// runRepair repairs the store and tells on standard error what was done.
func runRepair(ctx context.Context, cmd *cobra.Command, s *center.Store) error {
	done, err := s.Repair(ctx)
	for _, text := range done {
		fmt.Fprintln(cmd.ErrOrStderr(), text)
	}
	if err == nil && len(done) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "there was nothing to repair")
	}
	return err
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
