package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestNegativeArguments: -15m and -3 are arguments, wherever they stand, and values of
// flags where a flag wants one.
func TestNegativeArguments(t *testing.T) {
	for line, want := range map[string]string{
		"at tag -15m":               "at tag -15m|",
		"at -15m":                   "at -15m|",
		"at tag -.5 x":              "at tag -.5 x|",
		"at tag -10s -o json":       "at tag -10s|output=json",
		"at -o json tag -10s -y":    "at tag -10s|output=json yes=true",
		"at -yo json tag -1":        "at tag -1|output=json yes=true",
		"at -yojson tag -1":         "at tag -1|output=json yes=true",
		"at --from -15m tag":        "at tag|from=-15m",
		"at --from -15m tag -1m":    "at tag -1m|from=-15m",
		"at --from=-15m tag -1m":    "at tag -1m|from=-15m",
		"at -f -15m tag -1m":        "at tag -1m|from=-15m",
		"--socket s at tag -1m":     "at tag -1m|socket=s",
		"at --socket -1 tag -1m":    "at tag -1m|socket=-1",
		"at tag -1 -- -o x":         "at tag -1 -o x|",
		"at tag -- -1 --from 2":     "at tag -1 --from 2|",
		"at - -1":                   "at - -1|",
		"group set key -5":          "group set key -5|",
		"group set -5 key --yes":    "group set -5 key|yes=true",
		"at tag --yes --from -1 -2": "at tag -2|from=-1 yes=true",
		"at tag -x":                 "error: unknown shorthand flag",
		"at tag -x -1":              "error: unknown shorthand flag",
		"at tag --wrong -1":         "error: unknown flag: --wrong",
		"nothing -1":                `error: unknown command "nothing"`,
		"at --from":                 "error: flag needs an argument",
	} {
		t.Run(line, func(t *testing.T) {
			var text string
			run := func(cmd *cobra.Command, args []string) error {
				var flags []string
				for _, name := range []string{"from", "output", "socket", "yes"} {
					if f := cmd.Flag(name); f.Changed {
						flags = append(flags, name+"="+f.Value.String())
					}
				}
				text = strings.Join(append(strings.Fields(cmd.CommandPath())[1:], args...), " ") + "|" + strings.Join(flags, " ")
				return nil
			}
			root := &cobra.Command{Use: "tool", SilenceErrors: true, SilenceUsage: true}
			root.CompletionOptions.DisableDefaultCmd = true
			root.PersistentFlags().String("socket", "", "")
			group := &cobra.Command{Use: "group"}
			at, set := &cobra.Command{Use: "at", RunE: run}, &cobra.Command{Use: "set", RunE: run}
			for _, c := range []*cobra.Command{at, set} {
				c.Flags().StringP("from", "f", "", "")
				c.Flags().StringP("output", "o", "table", "")
				c.Flags().BoolP("yes", "y", false, "")
			}
			group.AddCommand(set)
			root.AddCommand(at, group)
			root.SetArgs(readNegatives(root, strings.Fields(line)))
			if err := root.Execute(); err != nil {
				text = "error: " + err.Error()
			}
			if failed := strings.HasPrefix(want, "error: "); text != want && !(failed && strings.HasPrefix(text, want)) {
				t.Errorf("%q, want %q", text, want)
			}
		})
	}
}
