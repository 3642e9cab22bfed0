package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys to sign pushes with, and show their public part",
		Example: `  edge-cfg key new ~/.edge/sign.key
  edge-cfg push ./config --sign ~/.edge/sign.key`,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "new FILE",
		Short: "Make a key, and print what gateways need in policy.signers",
		Long: `new makes an ed25519 key in a new file that only its owner may read (PKCS #8, as
openssl genpkey -algorithm ed25519 makes it), and prints its public part. Keep the file
away from the machines that etcd and the gateways run on: it is what they don't have.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := center.NewKey(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), k.Signer())
			fmt.Fprintf(cmd.ErrOrStderr(), "in gateway.yml: policy: {signers: [%q]}\n", k.Signer())
			return nil
		},
	}, &cobra.Command{
		Use:   "show FILE",
		Short: "Print a key's public part",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := center.ReadKey(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), k.Signer())
			return nil
		},
	})
	return cmd
}

// signing reads --sign and --order into what a push takes.
func (f *pushFlags) signing() (opts center.PushOptions, err error) {
	opts.Order = f.order
	if f.sign != "" {
		opts.Sign, err = center.ReadKey(f.sign)
	}
	return opts, err
}

// signs reports whether a push of what is in force already is meant: to sign it.
func signs(opts center.PushOptions, head center.Commit, force bool) bool {
	return opts.Sign != nil && (force || opts.Order > 0 || head.Signature == nil || head.Signature.Signer != opts.Sign.Signer())
}
