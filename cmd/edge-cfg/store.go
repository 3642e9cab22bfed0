package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// connection says how to reach a store. It is what the flags say, completed by a
// context.
type connection struct {
	Endpoints    []string `yaml:"endpoints,omitempty,flow" json:"endpoints,omitempty"`
	Prefix       string   `yaml:"prefix,omitempty" json:"prefix,omitempty"`
	User         string   `yaml:"user,omitempty" json:"user,omitempty"`
	PasswordFile string   `yaml:"password_file,omitempty" json:"password_file,omitempty"`
	CACert       string   `yaml:"cacert,omitempty" json:"cacert,omitempty"`
	Cert         string   `yaml:"cert,omitempty" json:"cert,omitempty"`
	Key          string   `yaml:"key,omitempty" json:"key,omitempty"`
	Author       string   `yaml:"author,omitempty" json:"author,omitempty"`
}

// addStoreFlags gives cmd and all commands below it the flags that say how to
// reach the store.
func addStoreFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringSlice("endpoints", nil, "etcd, as `HOST:PORT|unix:PATH,…` (default: of the context, or the embedded one in ./data or "+systemDataDir+")")
	f.String("prefix", "", "key prefix of the tables (default: "+center.DefaultPrefix+")")
	f.String("user", "", "etcd user")
	f.String("password-file", "", "`file` with the user's password")
	f.String("cacert", "", "`file` with the authority of etcd's certificate")
	f.String("cert", "", "`file` with the client's certificate")
	f.String("key", "", "`file` with the client's key")
	f.String("context", "", "`name` of the context to use, instead of the current one")
	cli.CompleteFlag(cmd, "context", completeContexts)
	f.String("author", "", "`name` of the person who makes a change, for the log (default: of the context, or who is logged in)")
}

// storeFlags returns what the flags of cmd say.
func storeFlags(cmd *cobra.Command) connection {
	text := func(name string) string { return cmd.Flags().Lookup(name).Value.String() }
	endpoints, err := cmd.Flags().GetStringSlice("endpoints")
	if err != nil {
		panic(err) // addStoreFlags made it
	}
	return connection{Endpoints: endpoints, Prefix: text("prefix"), User: text("user"), PasswordFile: text("password-file"),
		CACert: text("cacert"), Cert: text("cert"), Key: text("key"), Author: text("author")}
}

// complete returns other where c says nothing different.
func (c connection) complete(other connection) connection {
	for _, f := range []struct{ to, from *string }{
		{&other.Prefix, &c.Prefix}, {&other.User, &c.User}, {&other.PasswordFile, &c.PasswordFile},
		{&other.CACert, &c.CACert}, {&other.Cert, &c.Cert}, {&other.Key, &c.Key}, {&other.Author, &c.Author},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	return other
}

// config makes it what package center opens.
func (c connection) config() (center.Config, error) {
	cfg := center.Config{Endpoints: c.Endpoints, Prefix: c.Prefix, User: c.User,
		Settings: clienttls.Settings{Peer: "etcd", CA: "--cacert", Cert: "--cert", Key: "--key", Address: "--endpoints",
			Plain: "leave --cacert and --cert out", User: "--user", Password: "--password-file"}}
	if c.CACert != "" || c.Cert != "" {
		cfg.TLS = &center.TLS{CA: c.CACert, Cert: c.Cert, Key: c.Key}
	}
	if (c.Cert == "") != (c.Key == "") {
		return cfg, cli.Usagef("--cert and --key go together")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return cfg, cli.Usagef("--user and --password-file go together")
	}
	if c.PasswordFile != "" {
		b, err := regular.ReadFile(c.PasswordFile, 64<<10)
		if err != nil {
			return cfg, cli.Usagef("--password-file: %w", err)
		}
		cfg.Password = strings.TrimRight(string(b), "\r\n")
	}
	return cfg, nil
}

// systemDataDir is the data_dir of a gateway that is installed as a service.
const systemDataDir = "/var/lib/edge-gw"

// findEmbedded returns the endpoint of a gateway on this machine.
func findEmbedded() (string, error) {
	var looked []string
	for _, dir := range []string{"data", systemDataDir} {
		path := center.EmbeddedSocket(dir)
		if _, err := os.Stat(path); err == nil {
			return "unix:" + path, nil
		} else if errors.Is(err, os.ErrPermission) {
			return "", cli.Exit(cli.Unreachable, fmt.Errorf("%s belongs to the gateway's user: %w; run edge-cfg as that user", path, err))
		}
		looked = append(looked, path)
	}
	return "", cli.Exit(cli.Unreachable, fmt.Errorf("which etcd? There is no gateway's socket here (%s): start the gateway, "+
		"or say --endpoints HOST:PORT|unix:PATH (EDGE_CFG_ENDPOINTS), or choose a context with 'edge-cfg context use'", strings.Join(looked, ", ")))
}

// findStore returns the store that the flags, the context or this machine's gateway lead
// to. With --endpoints it is another store than the context's: nothing of the context's
// identity is sent there.
func findStore(cmd *cobra.Command) (connection, error) {
	conn := storeFlags(cmd)
	if len(conn.Endpoints) > 0 {
		return conn, nil
	}
	saved, err := savedConnection(cmd.Flags().Lookup("context").Value.String())
	if err != nil {
		return conn, err
	}
	conn = conn.complete(saved)
	if len(conn.Endpoints) > 0 {
		return conn, nil
	}
	found, err := findEmbedded()
	conn.Endpoints = []string{found}
	return conn, err
}

// storeConfig is how the store that the flags name is reached.
func storeConfig(cmd *cobra.Command) (center.Config, error) {
	conn, err := findStore(cmd)
	if err != nil {
		return center.Config{}, err
	}
	return conn.config()
}

// withStore opens the store and runs use. Where the store doesn't answer, the error says
// who knows more.
func withStore(cmd *cobra.Command, use func(context.Context, *center.Store) error) error {
	err := onStore(cmd, use)
	if errors.Is(err, center.ErrUnavailable) {
		err = fmt.Errorf("%w; 'edge-cfg doctor' tells which servers are down, and what that means", err)
	}
	return err
}

// onStore opens the store and runs use.
func onStore(cmd *cobra.Command, use func(context.Context, *center.Store) error) error {
	cfg, err := storeConfig(cmd)
	if err != nil {
		return err
	}
	var store *center.Store
	err = cli.During(cmd, "waiting for etcd", func() (err error) {
		store, err = center.Open(cmd.Context(), cfg)
		return cli.Interrupted(cmd, err, "etcd did not answer yet, and nothing was done")
	})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // every request has had its answer
	return use(cmd.Context(), store)
}
