package demo

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// line is one line of the demo's output.
type line struct {
	Event string
	listening
	stats
}

// play runs the demo as edge-gw demo -o json does and returns its lines.
func play(t *testing.T, o Options) []line {
	t.Helper()
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	cli.AddOutputFlag(cmd, cli.FormatJSON)
	if err := Run(t.Context(), cli.NewOutput(cmd), o); err != nil {
		t.Fatal(err)
	}
	var lines []line
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestDemoDeliversEverything(t *testing.T) {
	lines := play(t, Options{PLCs: 2, Points: 20, Polling: 50 * time.Millisecond, Duration: 4 * time.Second, DataDir: t.TempDir()})
	first, last := lines[0], lines[len(lines)-1]
	if first.Event != "listening" || first.Broker == "" || first.Admin == "" || first.Metrics == "" || first.Center == "" {
		t.Errorf("the first line is %+v", first)
	}
	if last.Event != "stopped" {
		t.Fatalf("the last line is %+v", last)
	}
	if s := last.stats; s.Points != 40 || s.Received < 1000 || s.Gaps != 0 || s.Repeats != 0 {
		t.Errorf("in the end: %+v", s)
	}
}

func TestDemoRefusesWrongOptions(t *testing.T) {
	good := Options{PLCs: 1, Points: 1, Polling: time.Second}
	for name, change := range map[string]func(*Options){
		"--plcs 0":      func(o *Options) { o.PLCs = 0 },
		"--points 0":    func(o *Options) { o.Points = 0 },
		"--polling 1ms": func(o *Options) { o.Polling = time.Millisecond },
	} {
		o := good
		change(&o)
		err := Run(t.Context(), nil, o)
		if cli.CodeOf(err) != cli.Usage || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
