// Package faults takes the accounts of the scenarios of faults. A scenario is a test: it
// does something to the gateway, and counts what became of what the gateway had accepted.
// It writes that into a [Row]. "make faults" runs all scenarios at length, with EDGE_FAULTS
// naming the file that takes the rows, and makes the table of docs/reliability.md of it.
// Without EDGE_FAULTS a row is logged only, and the scenario is the short one of "make test".
package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fileEnv names the file that takes the rows, seedEnv the seed of all scenarios.
const fileEnv, seedEnv = "EDGE_FAULTS", "EDGE_SEED"

// Long says whether scenarios run at length.
func Long() bool { return os.Getenv(fileEnv) != "" }

// Row is the account of one scenario. Its methods may be called from several goroutines.
type Row struct {
	Scenario string        `json:"scenario"`
	Seed     uint64        `json:"seed,omitempty"`     // 0: nothing in it is random
	Faults   int           `json:"faults"`             // how many were injected
	Accepted uint64        `json:"accepted"`           // what the gateway, or the tool, had taken on
	Lost     uint64        `json:"lost"`               // of it, what never arrived
	Repeated uint64        `json:"repeated"`           // what arrived more than once
	Recovery time.Duration `json:"recovery,omitempty"` // the longest time from the end of a fault until work went on
	Peak     float64       `json:"peak,omitempty"`     // the process's largest resident memory in MiB; 0: it shares one with its test
	Held     bool          `json:"held"`               // everything that the test asks for was so

	mu sync.Mutex
}

// Open begins the account of a scenario, which must be one of [Scenarios]. The row is
// written when the test ends, however it ends.
func Open(t testing.TB, scenario string) *Row {
	t.Helper()
	if _, ok := find(scenario); !ok {
		t.Fatalf("no scenario has the name %q: add it to the list in test/faults", scenario)
	}
	r := &Row{Scenario: scenario}
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Held = !t.Failed() && !t.Skipped()
		t.Log(r.line())
		if err := r.write(os.Getenv(fileEnv)); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Random returns the scenario's source of chance. EDGE_SEED repeats a run.
func (r *Row) Random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64N(1_000_000) + 1
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Seed = seed
	return rand.New(rand.NewPCG(seed, 1))
}

// Fault counts faults.
func (r *Row) Fault(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults += n
}

// Count adds to what was accepted, lost and repeated.
func (r *Row) Count(accepted, lost, repeated uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Accepted, r.Lost, r.Repeated = r.Accepted+accepted, r.Lost+lost, r.Repeated+repeated
}

// Recovered notes how long it took from the end of a fault until work went on.
func (r *Row) Recovered(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Recovery = max(r.Recovery, took)
}

// Memory notes the largest resident memory of a process, in MiB.
func (r *Row) Memory(peak float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Peak = max(r.Peak, peak)
}

// PeakOf returns the largest resident memory that a process has had, in MiB; 0 if it is gone.
func PeakOf(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}

// line is the row for a test's log.
func (r *Row) line() string {
	return fmt.Sprintf("%s: %d faults, %d accepted, %d lost, %d repeated, back after %s at most, peak memory %.0f MiB, seed %d",
		r.Scenario, r.Faults, r.Accepted, r.Lost, r.Repeated, r.Recovery.Round(time.Millisecond), r.Peak, r.Seed)
}

// write appends the row to the file at path. Several test processes do so at once: a row is one write.
func (r *Row) write(path string) error {
	if path == "" {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	return f.Close()
}
