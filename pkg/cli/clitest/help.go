package clitest

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// Exceptions are commands that differ from the others, each with the reason why.
type Exceptions struct {
	Silent  map[string]string // commands that print no data, so that they have no -o
	Formats map[string]string // commands whose data is no list: they lack a format
	Typed   map[string]string // "COMMAND NAME": arguments and flags that nothing completes
}

// EveryCommand holds every command to what people rely on: a short text, an example
// that calls it, help within 80 columns, -o with table (or text), json and yaml,
// completion of what exists, and no flag that looks like a negative number. root makes
// the command line anew. An exception that isn't needed is an error too.
func EveryCommand(t *testing.T, root func() *cobra.Command, but Exceptions) {
	t.Helper()
	w := walker{t: t, but: but, used: map[string]bool{}}
	w.walk(root())
	for _, list := range []map[string]string{but.Silent, but.Formats, but.Typed} {
		for name, why := range list {
			if !w.used[name] || why == "" {
				t.Errorf("the exception %q (%s) isn't needed", name, why)
			}
		}
	}
	for _, path := range w.paths {
		helpFits(t, root(), path)
	}
}

type walker struct {
	t     *testing.T
	but   Exceptions
	used  map[string]bool
	paths [][]string
}

func (w *walker) walk(c *cobra.Command) {
	path := c.CommandPath()
	w.paths = append(w.paths, strings.Fields(path)[1:])
	for _, sub := range c.Commands() {
		w.walk(sub)
	}
	program, below, _ := strings.Cut(path, " ") // flags may stand between them
	if c.Short == "" || !strings.Contains(c.Example, program) || !strings.Contains(c.Example, below) {
		w.t.Errorf("%s: short %q, example %q", path, c.Short, c.Example)
	}
	if c.Runnable() && !(c.HasSubCommands() && c.Flags().Lookup("output") == nil) { // what only shows its help prints no data
		w.formats(c, path)
	}
	w.completion(c, path)
	c.InheritedFlags() // has c.Flags know them
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Shorthand != "" && strings.Contains(".0123456789", f.Shorthand) {
			w.t.Errorf("%s: -%s looks like a number", path, f.Shorthand)
		}
	})
}

// excepted reports whether list has name, and notes that it is needed.
func (w *walker) excepted(list map[string]string, name string) bool {
	_, ok := list[name]
	w.used[name] = w.used[name] || ok
	return ok
}

func (w *walker) formats(c *cobra.Command, path string) {
	output := c.Flags().Lookup("output")
	if output == nil {
		if !w.excepted(w.but.Silent, path) {
			w.t.Errorf("%s has no -o", path)
		}
		return
	}
	_, list, _ := strings.Cut(output.Usage, ": ")
	have := strings.Split(list, "|")
	for _, want := range [][]string{{"json"}, {"yaml"}, {"table", "text"}} {
		if !slices.ContainsFunc(want, func(f string) bool { return slices.Contains(have, f) }) && !w.excepted(w.but.Formats, path) {
			w.t.Errorf("%s: -o has %s, and lacks %s", path, list, want[0])
		}
	}
}

// completion holds c to completing what exists: arguments that its Use line names so,
// and flags of these names.
func (w *walker) completion(c *cobra.Command, path string) {
	names := regexp.MustCompile(`\b(TAG|NAME|OLD|DRIVER|ENDPOINT|CONNECTOR|CONSUMER|GATEWAY|GLOB|KEY|TABLE|CERTIFICATE|KIND)\b`)
	_, arguments, _ := strings.Cut(c.Use, " ")
	arguments, _, _ = strings.Cut(arguments, " --") // values of flags
	if name := names.FindString(arguments); name != "" && c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 && !w.excepted(w.but.Typed, path+" "+name) {
		w.t.Errorf("%s: nothing completes %s", path, name)
	}
	for _, name := range []string{"tag", "driver", "gateway", "rev", "from", "to", "base", "context", "quality", "target", "protocol", "output"} {
		if c.LocalFlags().Lookup(name) == nil {
			continue
		}
		if _, ok := c.GetFlagCompletionFunc(name); !ok && !w.excepted(w.but.Typed, path+" --"+name) {
			w.t.Errorf("%s: nothing completes --%s", path, name)
		}
	}
}

// helpFits holds the help of the command at path to 80 columns.
func helpFits(t *testing.T, root *cobra.Command, path []string) {
	t.Helper()
	out := new(bytes.Buffer)
	root.SetArgs(append(path, "--help"))
	root.SetOut(out)
	root.SetErr(out)
	if code := cli.Execute(t.Context(), root, "EDGE_TEST"); code != 0 {
		t.Errorf("%s --help: exit code %d", strings.Join(path, " "), code)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		if n := cli.Width(line); n > 80 {
			t.Errorf("%s --help: a line of %d columns: %s", strings.Join(path, " "), n, line)
		}
	}
}
