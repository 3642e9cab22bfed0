package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what a flag expects, where the library's text speaks of its own
// parser.
func flagError(_ *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		if want := expects(value.GetFlag().Value.Type()); want != "" {
			return fmt.Errorf("--%s %s: expected %s%s", value.GetFlag().Name, value.GetValue(), want, reading(err))
		}
	}
	return err
}

// expects describes the values of a flag's type, "" for those that describe
// themselves.
func expects(flagType string) string {
	switch flagType {
	case "int", "int64":
		return "a whole number"
	case "uint8":
		return "a whole number from 0 to 255"
	case "uint64", "uint":
		return "a whole number, 0 or more"
	case "float64":
		return "a number"
	case "duration":
		return "a duration such as 500ms or 10s"
	case "bool":
		return "true or false"
	}
	return ""
}

// argsError says what arguments a command expects: those of its Use line.
func argsError(cmd *cobra.Command, args []string) error {
	_, want, _ := strings.Cut(cmd.Use, " ")
	switch {
	case want == "" && cmd.HasSubCommands():
		return missingSubcommand(cmd, args)
	case want == "":
		return fmt.Errorf("unexpected argument %q: %s takes none", args[0], cmd.CommandPath())
	case len(args) == 0:
		return fmt.Errorf("%s: expected %s", cmd.CommandPath(), want)
	}
	return fmt.Errorf("%s: expected %s, got: %s", cmd.CommandPath(), want, strings.Join(args, " "))
}

// checkRequired says which flag is missing, and what it is.
func checkRequired(cmd *cobra.Command) (err error) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if err == nil && !f.Changed && len(f.Annotations[cobra.BashCompOneRequiredFlag]) > 0 {
			err = fmt.Errorf("--%s is missing: %s", f.Name, strings.TrimSuffix(f.Usage, " (required)"))
		}
	})
	return err
}
