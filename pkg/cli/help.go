package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is how wide help is at most: a terminal of 80 columns shows it whole.
const helpWidth = 80

// usage writes how cmd is used, within helpWidth but for its examples.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	section := func(name, text string) {
		if text = strings.TrimRight(text, " \n"); text != "" {
			fmt.Fprintf(&b, "\n%s:\n%s\n", name, text)
		}
	}
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s [command]\n", cmd.CommandPath())
	}
	section("Examples", cmd.Example)
	section("Available Commands", commandList(cmd))
	section("Flags", cmd.LocalFlags().FlagUsagesWrapped(helpWidth))
	section("Global Flags", cmd.InheritedFlags().FlagUsagesWrapped(helpWidth))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUse \"%s [command] --help\" for more information about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// commandList has a line for each command below cmd, continued where it is too long.
func commandList(cmd *cobra.Command) string {
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() && sub.Name() != "help" {
			continue
		}
		name := fmt.Sprintf("  %-*s ", sub.NamePadding(), sub.Name())
		for _, line := range wrapText(sub.Short, helpWidth-len(name)) {
			b.WriteString(name + line + "\n")
			name = strings.Repeat(" ", len(name))
		}
	}
	return b.String()
}

// reflow breaks the paragraphs of a text anew, so that they are within helpWidth.
// Lines that are indented stay as they are.
func reflow(text string) string {
	var lines []string
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			lines = append(lines, wrapText(strings.Join(paragraph, " "), helpWidth)...)
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			flush()
			lines = append(lines, line)
			continue
		}
		paragraph = append(paragraph, line)
	}
	flush()
	return strings.Join(lines, "\n")
}
