package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

func newSet() *cobra.Command {
	var flags pushFlags
	cmd := &cobra.Command{
		Use:   "set KEY [FIELD=]VALUE",
		Short: "Change one setting, or one field of one item",
		Long: `set changes a setting (bus.wal_flush_ms 20), or a field of an item
(variables/TAG scale="value / 10"), and pushes that at once, without a question.
The result is linted as a whole first.

The value null takes a field away: a setting then has the value of gateway.yml again,
and a group or a gateway of a fleet has that field no longer different.

If somebody else pushes at the same time, the change is made again on top of theirs,
unless they changed the same item (exit code 3).

The files that the tables were pushed from don't change; 'edge-cfg pull' updates
them.`,
		Example: `  edge-cfg set bus.wal_flush_ms 20
  edge-cfg set variables/plant.flow scale="value / 10" -m "new flow meter"
  edge-cfg set drivers/press-4 cfg.polling=500ms --no-wait
  edge-cfg set gateways/lyon-01 endpoints.plc.host=10.1.1.55 -m "new controller"`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeKey(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := tables.ParseAssignment(args[0], args[1])
			if err != nil {
				return err
			}
			flags.yes, flags.allow = true, "all"
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				head, err := s.Load(ctx)
				if err != nil {
					return err
				}
				make := func(head center.Version) (*config.Document, error) {
					doc, err := key.Assign(head.Document(), value)
					var findings config.Findings
					if errors.As(err, &findings) {
						return nil, reportFindings(cmd, findings)
					}
					if err != nil {
						return nil, err
					}
					return doc, checkDocument(cmd, doc)
				}
				doc, err := make(head)
				if err != nil {
					return err
				}
				was, _ := head.Document().Get(key.Table, key.ID)
				anew := func(head center.Version) (*config.Document, error) {
					if now, _ := head.Document().Get(key.Table, key.ID); !bytes.Equal(now, was) {
						return nil, nil // somebody changed the same item: a person must look
					}
					return make(head)
				}
				if flags.message == "" {
					flags.message = fmt.Sprintf("set %s", key)
				}
				_, err = commitDocument(ctx, cmd, s, change{head: head, doc: doc, anew: anew}, &flags)
				return err
			})
		},
	}
	flags.add(cmd)
	return cmd
}
