package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// addPKIFlag gives cmd --pki.
func addPKIFlag(cmd *cobra.Command) {
	cmd.Flags().String("pki", "", "the trust list's `directory` (default: pki next to the gateway's admin socket, else below /var/lib/edge-gw, else the user's own)")
}

// pkiDir returns the directory of the trust list, "" if there is none.
func pkiDir(cmd *cobra.Command) (string, error) {
	if dir, err := cmd.Flags().GetString("pki"); err != nil || dir != "" {
		return dir, err
	}
	var near []string
	if socket, err := cmd.Flags().GetString("socket"); err == nil && socket != "" {
		near = append(near, socket)
	}
	var dirs []string
	for _, socket := range append(near, admin.DefaultSockets()...) {
		dirs = append(dirs, filepath.Join(filepath.Dir(socket), "pki"))
	}
	for _, dir := range append(dirs, ownPKI()) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", nil
}

// ownPKI is the trust list of a user on a machine without a gateway, "" for one without
// a home: what a person trusts must still be trusted when the device is asked again.
func ownPKI() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "edge-gw", "pki")
}

// one makes a list of one certificate.
func one(c driver.Certificate, err error) ([]driver.Certificate, error) {
	return []driver.Certificate{c}, err
}

func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Show and change which servers are trusted",
		Long: `pki works on the trust list of a gateway, the folder pki below its data_dir: own,
trusted, issuers, crl and rejected. A certificate is named by its thumbprint, of
which the first digits are enough, or by its file. Changes apply at the next attempt
to connect, without a restart.`,
		Example: `  edge-ctl pki list
  edge-ctl pki trust 3f2a91`,
	}
	cmd.AddCommand(
		pkiCommand("list", "List the certificates", cobra.NoArgs, "",
			func(p driver.TrustList, _ string) ([]driver.Certificate, error) { return p.List() }),
		pkiCommand("show CERTIFICATE", "Show one certificate", cobra.ExactArgs(1), "",
			func(p driver.TrustList, name string) ([]driver.Certificate, error) { return one(p.Find(name)) }),
		pkiCommand("trust CERTIFICATE", "Trust a certificate", cobra.ExactArgs(1), "is trusted",
			func(p driver.TrustList, name string) ([]driver.Certificate, error) { return one(p.Trust(name)) }),
		pkiCommand("reject CERTIFICATE", "Trust a certificate no more", cobra.ExactArgs(1), "is rejected",
			func(p driver.TrustList, name string) ([]driver.Certificate, error) { return one(p.Reject(name)) }),
	)
	return cmd
}

// thumbprints lists those of the trust list, for completion.
func thumbprints(_ context.Context, cmd *cobra.Command) (names []string, err error) {
	dir, err := pkiDir(cmd)
	if dir == "" {
		return nil, err
	}
	list, err := protocols.Builtin().TrustList(dir).List()
	for _, c := range list {
		names = append(names, c.Thumbprint+"\t"+c.Folder+", "+c.Subject)
	}
	return names, err
}

func pkiCommand(use, short string, args cobra.PositionalArgs, done string,
	do func(p driver.TrustList, name string) ([]driver.Certificate, error),
) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args, Example: "  edge-ctl pki " + strings.Replace(use, "CERTIFICATE", "3f2a91", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := pkiDir(cmd)
			if err != nil {
				return err
			}
			if dir == "" {
				return fmt.Errorf("pki %s: no trust list was found; name its directory with --pki DATA_DIR/pki", name)
			}
			list, err := do(protocols.Builtin().TrustList(dir), append(args, "")[0])
			if err != nil {
				return err
			}
			if done != "" {
				cmd.PrintErrf("%s %s\n", list[0].Subject, done)
			}
			return cli.NewOutput(cmd).Print(append([]driver.Certificate{}, list...), func(t *cli.Table) {
				t.Header("FOLDER", "THUMBPRINT", "SUBJECT", "ENDS")
				for _, c := range list {
					t.Row(c.Folder, c.Thumbprint, c.Subject, c.To.Format(time.DateOnly))
				}
			})
		},
	}
	if name != use { // it takes a certificate
		cmd.ValidArgsFunction = cli.First(cli.Completing(envPrefix, thumbprints))
	}
	addPKIFlag(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}
