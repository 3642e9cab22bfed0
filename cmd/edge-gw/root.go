package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-gw",
		Short: "Industrial edge gateway: PLC → log → broker, nothing lost, nothing twice",
		Long: `edge-gw polls PLCs, gives every value a gap-free sequence number, logs it on
disk, and delivers it to an MQTT 5 broker exactly once.`,
		Example: `  edge-gw demo                        # see it work, nothing else needed
  edge-gw init my-plant               # a commented gateway.yml, starter tables
  edge-gw run --config my-plant/gateway.yml`,
	}
	cli.AddColorFlag(root)
	cli.AddQuietFlag(root)
	root.AddCommand(newRun(), newDemo(), newInit(), newConfig(), newDoctor(), newBackup(), newRestore(), newMigrate(), cli.NewVersion("edge-gw"))
	return root
}

// flagKeys maps the flags of run and config to the keys that they override.
var flagKeys = map[string]string{
	"data-dir":       "data_dir",
	"log-level":      "log.level",
	"log-format":     "log.format",
	"metrics-listen": "metrics.listen",
	"admin-socket":   "admin.socket",
	"config-dir":     "config.dir",
}

// addConfigFlags gives cmd the flags that choose and override gateway.yml.
func addConfigFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringP("config", "c", "", "path of gateway.yml")
	f.String("data-dir", "", "where log, state and sockets live (data_dir)")
	f.String("log-level", "", "debug, info, warn or error (log.level)")
	f.String("log-format", "", "json or text (log.format)")
	f.String("metrics-listen", "", "HOST:PORT of /metrics (metrics.listen)")
	f.String("admin-socket", "", "path of the admin socket (admin.socket)")
	f.String("config-dir", "", "directory of the tables (config.dir)")
	f.StringArray("set", nil, "override any other key: --set bus.wal_flush_ms=20")
	if err := cmd.MarkFlagFilename("config", "yml", "yaml"); err != nil {
		panic(err) // the flag was added above
	}
}

// loadConfig reads the gateway.yml that cmd's flags name, and lays the
// environment and the flags over it.
func loadConfig(cmd *cobra.Command) (*bootstrap.Gateway, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, cli.Usagef("--config is missing: name the gateway.yml to use ('edge-gw init DIR' writes one)")
	}
	overrides := map[string]string{}
	for name, key := range flagKeys {
		// The environment is read below, at its own place in the order.
		if f := cmd.Flags().Lookup(name); f.Changed && cli.FromEnv(f) == "" {
			overrides[key] = f.Value.String()
		}
	}
	sets, err := cmd.Flags().GetStringArray("set")
	if err != nil {
		return nil, err
	}
	for _, s := range sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, cli.Usagef("--set %s: expected KEY=VALUE, such as bus.wal_flush_ms=20", s)
		}
		overrides[key] = value
	}
	cfg, err := bootstrap.Load(path, overrides, os.Environ())
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be used:\n%w", err)
	}
	return cfg, nil
}

func newInit() *cobra.Command {
	var own bootstrap.Starter
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Write a commented gateway.yml and starter tables",
		Long:  `init writes gateway.yml and the tables in config/ into DIR. It overwrites nothing.`,
		Example: `  edge-gw init my-plant
  edge-gw init /etc/edge-gw --gateway-id press-7 --data-dir /var/lib/edge-gw`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := bootstrap.Init(args[0], own); err != nil {
				return err
			}
			data := own.DataDir
			if data == "" {
				data = filepath.Join(args[0], "data")
			}
			fmt.Fprintf(cmd.ErrOrStderr(), `Wrote %[1]s/gateway.yml and the tables in %[1]s/config. Next:
  edge-cfg lint %[1]s/config
  edge-gw run --config %[1]s/gateway.yml
The tables fill the gateway's etcd at its first start. Change them there:
  edge-cfg --endpoints unix:%[2]s/etcd.sock push %[1]s/config
`, args[0], data)
			return nil
		},
	}
	cmd.Flags().StringVar(&own.GatewayID, "gateway-id", "", "name of the gateway, unique in its fleet (gateway_id)")
	cmd.Flags().StringVar(&own.DataDir, "data-dir", "", "where log, state and sockets live (data_dir)")
	return cmd
}

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show or check gateway.yml with what overrides it",
		Example: `  edge-gw config check --config /etc/edge-gw/gateway.yml
  edge-gw config print --config /etc/edge-gw/gateway.yml --origin`,
	}
	show := &cobra.Command{
		Use:   "print --config FILE",
		Short: "Print every setting, secrets masked",
		Example: `  edge-gw config print --config gateway.yml
  edge-gw config print --config gateway.yml --origin -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			origin, err := cmd.Flags().GetBool("origin")
			if err != nil {
				return err
			}
			out := cli.NewOutput(cmd)
			switch {
			case out.Format == cli.FormatYAML:
				return cfg.Print(out.Writer(), origin)
			case origin:
				return out.Print(cfg.Values(), nil)
			}
			return out.Print(cfg.Tree(), nil)
		},
	}
	show.Flags().Bool("origin", false, "say where each value comes from; with -o json a list of keys")
	cli.AddOutputFlag(show, cli.FormatYAML, cli.FormatJSON)
	check := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Check gateway.yml without starting anything",
		Long: `check constructs every part as a start does, without opening anything, and looks at
what a start would take: directories, ports, and, with config.source dir, the tables.
An error is what would end the start. A warning is what would keep the gateway from
delivering: a file or secret that can't be read, a port in use, too little disk.`,
		Example: `  edge-gw config check --config gateway.yml
  sudo -u edge-gw edge-gw config check --strict \
    --config /etc/edge-gw/gateway.yml`,
		Args: cobra.NoArgs,
		RunE: checkConfig,
	}
	check.Flags().Bool("strict", false, "fail on warnings too")
	cli.AddOutputFlag(check, formatText, cli.FormatJSON, cli.FormatYAML)
	for _, c := range []*cobra.Command{show, check} {
		addConfigFlags(c)
		cmd.AddCommand(c)
	}
	return cmd
}

// formatText is one line for each finding, on standard error.
const formatText cli.Format = "text"

func checkConfig(cmd *cobra.Command, _ []string) error {
	strict, err := cmd.Flags().GetBool("strict")
	if err != nil {
		return err
	}
	out := cli.NewOutput(cmd)
	findings := config.Findings{}
	cfg, err := loadConfig(cmd)
	if err == nil {
		findings = append(findings, gateway.Check(cmd.Context(), cfg)...)
		if err = findings.Err(); err != nil {
			err = fmt.Errorf("the configuration cannot be used:\n%w", err)
		}
	} else if out.Format == formatText || !errors.As(err, &findings) {
		return err
	}
	if strict && err == nil && len(findings) > 0 {
		err = fmt.Errorf("%s, and --strict was given", words.Count(len(findings), "warning"))
	}
	if out.Format != formatText { // the list says it all
		if printErr := out.Print(findings, nil); printErr != nil || err == nil {
			return printErr
		}
		return cli.Exit(cli.Failed, nil)
	}
	if findings.Err() == nil { // else they are in the error
		for _, w := range findings {
			fmt.Fprintln(cmd.ErrOrStderr(), w)
		}
	}
	if err == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "✓ OK")
	}
	return err
}
