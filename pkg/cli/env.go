package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envAnnotation marks a flag whose value came from the environment.
const envAnnotation = "cli_env"

// EnvName returns the variable that stands for a flag: EDGE_BUS_WAL_DIR for
// --wal-dir of edge-bus.
func EnvName(prefix, flag string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// FromEnv returns the variable that gave f its value, "" if none did. Such a
// flag counts as changed, like one of the command line.
func FromEnv(f *pflag.Flag) string {
	if names := f.Annotations[envAnnotation]; len(names) > 0 {
		return names[0]
	}
	return ""
}

// bindEnv sets the flags of cmd that were not given from the environment. An
// empty variable counts as not set.
func bindEnv(cmd *cobra.Command, prefix string) error {
	var first error
	flags := cmd.Flags()
	flags.VisitAll(func(f *pflag.Flag) {
		if first != nil || f.Changed || f.Name == "help" || f.Name == "version" {
			return
		}
		name := EnvName(prefix, f.Name)
		value := os.Getenv(name)
		if value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			first = fmt.Errorf("environment variable %s=%q: %w", name, value, flagError(cmd, err))
			return
		}
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[envAnnotation] = []string{name}
	})
	return first
}
