package docs

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// blockOf finds a block of code: what it is written in, and its text.
var blockOf = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// commandLine is one call of one of the four commands on a page.
type commandLine struct {
	page string
	args []string // the command first
}

// TestCommandLines: each call of a command that stands in a block of shell exists: the
// command, its part, its flags. Nothing is run but --help.
func TestCommandLines(t *testing.T) {
	bin := map[string]string{}
	for _, name := range []string{"edge-gw", "edge-cfg", "edge-bus", "edge-ctl"} {
		bin[name] = peer.Build(t, name)
	}
	lines := map[string]commandLine{} // by their text: each once
	for name, page := range pages(t) {
		for _, m := range blockOf.FindAllStringSubmatch(page, -1) {
			if slices.Contains([]string{"", "sh", "bash", "console"}, m[1]) {
				for _, args := range calls(m[2]) {
					lines[strings.Join(args, "\x00")] = commandLine{name, args}
				}
			}
		}
	}
	if len(lines) < 100 {
		t.Errorf("only %d command lines were found", len(lines))
	}
	slots := make(chan struct{}, 2*runtime.NumCPU())
	var all sync.WaitGroup
	for _, l := range lines {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if fault := exists(bin[l.args[0]], l.args[1:]); fault != "" {
				t.Errorf("%s: %s\n%s", l.page, strings.Join(l.args, " "), fault)
			}
		})
	}
	all.Wait()
}

// exists says what is wrong with a call, "" for nothing.
func exists(bin string, args []string) string {
	end := slices.Index(args, "--") // what follows are no flags
	if end < 0 {
		end = len(args)
	}
	call := append(append(slices.Clone(args[:end]), "--help"), args[end:]...)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(bin, call...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err.Error()
	}
	if err != nil {
		return stderr.String()
	}
	// The help of a group of commands is shown where the next word is none of them.
	path := usage.FindStringSubmatch(stdout.String())
	if strings.Contains(stdout.String(), "Available Commands:") && path != nil {
		words := strings.Fields(path[1])
		if rest := plain(args[:end]); len(rest) >= len(words) && rest[len(words)-1] != "" {
			return "there is no such command: " + rest[len(words)-1]
		}
	}
	return ""
}

// usage finds the path of the command whose help was shown.
var usage = regexp.MustCompile(`(?m)^Usage:\n  ((?:[a-z]\S*)(?: [a-z][a-z-]*)*) `)

// plain returns the words of a call that are neither flags nor, as far as can be told,
// their values.
func plain(args []string) (out []string) {
	for i, a := range args {
		flag := strings.HasPrefix(a, "-")
		value := i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.Contains(args[i-1], "=")
		if !flag && !value {
			out = append(out, a)
		}
	}
	return out
}

// calls finds the calls of the four commands in a block of shell.
func calls(block string) (out [][]string) {
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		var args []string
		done := func() {
			for len(args) > 0 && (args[0] == "sudo" || assignment.MatchString(args[0])) {
				args = args[1:]
			}
			if len(args) > 0 && isOurs(args[0]) {
				args[0] = filepath.Base(args[0])
				out = append(out, args)
			}
			args = nil
		}
		for _, word := range shellWords(line) {
			switch word {
			case "|", "&", "&&", ";", "||", ">", ">>", "<", "2>", "(", ")":
				done()
			default:
				args = append(args, word)
			}
		}
		done()
	}
	return out
}

// assignment is what may stand before a command.
var assignment = regexp.MustCompile(`^[A-Z_]+=`)

func isOurs(word string) bool {
	return slices.Contains([]string{"edge-gw", "edge-cfg", "edge-bus", "edge-ctl"}, filepath.Base(word))
}

// shellWords splits a line of shell; what stands in quotes is one word, and a comment
// none. An operator is a word of its own.
func shellWords(line string) (words []string) {
	var word strings.Builder
	var quote rune
	inWord := false
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '#' && !inWord:
			return words
		case r == ' ' || r == '\t' || r == '\n':
			end()
		case strings.ContainsRune("|&;<>()", r):
			end()
			words = append(words, string(r))
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	end()
	return words
}
