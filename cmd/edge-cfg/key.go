package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys to sign pushes with, and show their public part",
		Example: `  edge-cfg key new ~/.edge/sign.key
  edge-cfg push ./config --sign ~/.edge/sign.key`,
	}
	create := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a key, and print what gateways need in policy.signers",
		Long: `new makes an ed25519 key in a new file that only its owner may read (PKCS #8, as
openssl genpkey -algorithm ed25519 makes it), and prints its public part. Keep the file
away from the machines that etcd and the gateways run on: it is what they don't have.`,
		Example: `  edge-cfg key new ~/.edge/sign.key`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := center.NewKey(args[0])
			if err != nil {
				return err
			}
			cmd.PrintErrf("in gateway.yml: policy: {signers: [%q]}\n", k.Signer())
			return printSigner(cmd, k)
		},
	}
	show := &cobra.Command{
		Use:     "show FILE",
		Short:   "Print a key's public part",
		Example: `  edge-cfg key show ~/.edge/sign.key`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := center.ReadKey(args[0])
			if err != nil {
				return err
			}
			return printSigner(cmd, k)
		},
	}
	for _, c := range []*cobra.Command{create, show} {
		cli.AddOutputFlag(c)
		cmd.AddCommand(c)
	}
	return cmd
}

// printSigner prints the public part of k.
func printSigner(cmd *cobra.Command, k *center.Key) error {
	v := struct {
		Signer center.Signer `json:"signer"`
	}{k.Signer()}
	return cli.NewOutput(cmd).Print(v, func(t *cli.Table) { t.Row(string(v.Signer)) })
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
