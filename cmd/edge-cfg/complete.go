package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// fromStore completes with what names finds in the store that the flags lead to.
func fromStore(names func(context.Context, *center.Store) ([]string, error)) cobra.CompletionFunc {
	return cli.Completing(envPrefix, func(ctx context.Context, cmd *cobra.Command) ([]string, error) {
		cfg, err := storeConfig(cmd)
		if err != nil {
			return nil, err
		}
		s, err := center.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		defer s.Close() //nolint:errcheck // the request has had its answer
		return names(ctx, s)
	})
}

// completeRev has the newest revisions complete the flag of cmd. More are words that the
// flag takes besides.
func completeRev(cmd *cobra.Command, flag string, more ...string) {
	cli.CompleteFlag(cmd, flag, fromStore(func(ctx context.Context, s *center.Store) ([]string, error) {
		log, err := s.Log(ctx, center.DefaultKeepReleases)
		list := more
		for _, c := range log {
			list = append(list, fmt.Sprintf("%d\t%s, %s: %s", c.Rev, moment.Format(c.Time), c.Author, c.Message))
		}
		return list, err
	}))
}

// completeGateways completes with the gateways that ever registered.
func completeGateways() cobra.CompletionFunc {
	return fromStore(func(ctx context.Context, s *center.Store) (ids []string, err error) {
		list, err := s.Gateways(ctx)
		for _, g := range list {
			state, _ := g.Shown()
			ids = append(ids, g.Gateway+"\t"+string(state))
		}
		return ids, err
	})
}

// completeFleet has the gateways of the fleet's directory, the first argument, complete
// the flag --gateway of cmd.
func completeFleet(cmd *cobra.Command) {
	cli.CompleteFlag(cmd, "gateway", func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		f, _, err := tables.OpenFleet(args[0])
		if err != nil || f == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f.Gateways(), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeKey completes KEY, the first argument: table by table, as there may be a
// hundred thousand variables. With settings, those that nobody has set are there too.
func completeKey(settings bool) cobra.CompletionFunc {
	return cli.First(func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		table, _, inTable := strings.Cut(part, "/")
		if !inTable {
			list := settingKeys(settings)
			for _, t := range config.AllTables() {
				list = append(list, string(t)+"/")
			}
			return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return fromStore(func(ctx context.Context, s *center.Store) (ids []string, err error) {
			head, err := s.Load(ctx)
			if err != nil {
				return nil, err
			}
			for _, id := range head.Document().IDs(config.Table(table)) {
				ids = append(ids, table+"/"+id)
			}
			return ids, nil
		})(cmd, args, part)
	})
}

// settingKeys lists the settings of the bus, if they are wanted.
func settingKeys(wanted bool) (keys []string) {
	if !wanted {
		return nil
	}
	for _, f := range config.ItemFields(config.Settings, "bus", nil) {
		keys = append(keys, "bus."+strings.Join(f.Path, "."))
	}
	return keys
}

// completeContexts completes with the names of the contexts.
func completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := loadContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.Sorted(maps.Keys(c.Contexts)), cobra.ShellCompDirectiveNoFileComp
}
