package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newContext() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Give config centers names, and choose the one to work with",
		Example: `  edge-cfg --endpoints etcd-1:2379,etcd-2:2379 --user ann \
    --password-file ~/.etcd context add plant
  edge-cfg context use plant
  edge-cfg --context test diff ./config`,
	}
	cmd.AddCommand(newContextAdd(), newContextUse(), newContextList())
	return cmd
}

func newContextAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME",
		Short: "Remember --endpoints and the flags beside it under a name, or replace what it stood for",
		Example: `  edge-cfg --endpoints unix:/var/lib/edge-gw/etcd.sock context add local
  edge-cfg --endpoints 10.0.0.5:2379 --cacert ca.pem --cert me.pem \
    --key me.key context add plant`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.First(completeContexts), // one that is there is replaced
		RunE: func(cmd *cobra.Command, args []string) error {
			conn := storeFlags(cmd)
			if len(conn.Endpoints) == 0 {
				return cli.Usagef("a context needs --endpoints HOST:PORT|unix:PATH")
			}
			if err := conn.absolute(); err != nil {
				return err
			}
			if _, err := conn.config(); err != nil {
				return err
			}
			c, err := loadContexts()
			if err != nil {
				return err
			}
			c.Contexts[args[0]] = conn
			if c.Current == "" {
				c.Current = args[0]
			}
			if err := c.save(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "context %s added; the current one is %s\n", args[0], c.Current)
			return nil
		},
	}
}

// absolute makes the paths independent of the directory.
func (c *connection) absolute() error {
	abs := func(path string) (string, error) {
		if path == "" {
			return "", nil
		}
		return filepath.Abs(path)
	}
	var err error
	for _, p := range []*string{&c.PasswordFile, &c.CACert, &c.Cert, &c.Key} {
		if *p, err = abs(*p); err != nil {
			return err
		}
	}
	for i, e := range c.Endpoints {
		if path, ok := strings.CutPrefix(e, "unix:"); ok {
			if path, err = abs(path); err != nil {
				return err
			}
			c.Endpoints[i] = "unix:" + path
		}
	}
	return nil
}

func newContextUse() *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Work with this context from now on",
		Example:           `  edge-cfg context use plant`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.First(completeContexts),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := loadContexts()
			if err != nil {
				return err
			}
			if _, err := c.get(args[0]); err != nil {
				return err
			}
			c.Current = args[0]
			return c.save()
		},
	}
}

// listedContext is a context as it is listed.
type listedContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	connection
}

func newContextList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the contexts",
		Example: `  edge-cfg context list -o json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadContexts()
			if err != nil {
				return err
			}
			list := []listedContext{}
			for _, name := range c.names() {
				list = append(list, listedContext{name, name == c.Current, c.Contexts[name]})
			}
			return cli.NewOutput(cmd).Print(list, func(t *cli.Table) {
				t.Header("", "NAME", "ENDPOINTS", "PREFIX", "USER", "AUTHOR")
				for _, l := range list {
					mark := " "
					if l.Current {
						mark = "*"
					}
					t.Row(mark, l.Name, strings.Join(l.Endpoints, ","), l.Prefix, l.User, l.Author)
				}
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}
