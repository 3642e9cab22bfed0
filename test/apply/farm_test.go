package apply

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// farmEnv makes a process of this test binary a farm of so many devices.
const farmEnv = "EDGE_APPLY_FARM"

// farm is devices in a process of their own: the consumer in this one must not hold
// up their answers, nor their clocks.
type farm struct {
	addrs []string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
}

// taken is what a device of a farm has seen since it was asked last.
type taken struct {
	Polls []int64 `json:"polls"` // Unix nanoseconds
	Now   int     `json:"now"`   // connections
	Most  int     `json:"most"`  // at a time
}

func startFarm(tb testing.TB, n int) *farm {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	f := &farm{cmd: exec.Command(exe)}
	f.cmd.Env = append(os.Environ(), farmEnv+"="+strconv.Itoa(n))
	f.cmd.Stderr = os.Stderr
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	f.out = json.NewDecoder(out)
	if err := f.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = f.in.Close() // it ends
		_ = f.cmd.Wait() // however it ended
	})
	if err := f.out.Decode(&f.addrs); err != nil {
		tb.Fatal(err)
	}
	return f
}

// take returns what each device has seen since the last take.
func (f *farm) take(tb testing.TB) []taken {
	tb.Helper()
	if _, err := fmt.Fprintln(f.in, "take"); err != nil {
		tb.Fatal(err)
	}
	var all []taken
	if err := f.out.Decode(&all); err != nil {
		tb.Fatal(err)
	}
	return all
}

// runFarm is the farm's process: it answers each line with what was taken.
func runFarm(n string) error {
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	devices := make([]*plc, count)
	addrs := make([]string, count)
	for i := range devices {
		if devices[i], err = newPLC(0); err != nil {
			return err
		}
		addrs[i] = devices[i].addr
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(addrs); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		all := make([]taken, count)
		for i, d := range devices {
			for _, t := range d.taken() {
				all[i].Polls = append(all[i].Polls, t.UnixNano())
			}
			all[i].Now, all[i].Most, _ = d.connections()
		}
		if err := out.Encode(all); err != nil {
			return err
		}
	}
	return nil
}

// times turns Unix nanoseconds into times.
func times(nanos []int64) []time.Time {
	out := make([]time.Time, len(nanos))
	for i, n := range nanos {
		out[i] = time.Unix(0, n)
	}
	return out
}
