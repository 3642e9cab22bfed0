package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// negative reports whether arg is a negative number, or a time ago such as -15m. No
// command has a flag that looks like that.
func negative(arg string) bool {
	rest, minus := strings.CutPrefix(arg, "-")
	rest = strings.TrimPrefix(rest, ".")
	return minus && rest != "" && '0' <= rest[0] && rest[0] <= '9'
}

// readNegatives returns args with -- before the arguments where one of them is negative:
// the flag library would take it for a flag. The value of a flag stays where it is.
func readNegatives(root *cobra.Command, args []string) []string {
	cmd, rest, err := root.Find(args)
	if err != nil {
		return args // which is told when they are parsed
	}
	cmd.InheritedFlags() // has cmd.Flags know them
	flags, values, found := []string{}, []string{}, false
	for i := 0; i < len(rest); i++ {
		switch arg := rest[i]; {
		case arg == "--":
			values = append(values, rest[i+1:]...)
			i = len(rest)
		case negative(arg):
			values, found = append(values, arg), true
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			values = append(values, arg)
		default:
			flags = append(flags, arg)
			if i+1 < len(rest) && wantsValue(cmd.Flags(), arg) {
				i++
				flags = append(flags, rest[i])
			}
		}
	}
	if !found {
		return args
	}
	path := strings.Fields(cmd.CommandPath())[1:]
	return append(append(append(path, flags...), "--"), values...)
}

// wantsValue reports whether the argument after arg, which is a flag or several in one
// word (-wo), is its value.
func wantsValue(flags *pflag.FlagSet, arg string) bool {
	if name, long := strings.CutPrefix(arg, "--"); long {
		f := flags.Lookup(name) // none of this name: with = in it, or unknown
		return f != nil && f.NoOptDefVal == ""
	}
	for i := 1; i < len(arg); i++ {
		f := flags.ShorthandLookup(arg[i : i+1])
		if f == nil || f.NoOptDefVal == "" {
			return f != nil && i == len(arg)-1
		}
	}
	return false
}
