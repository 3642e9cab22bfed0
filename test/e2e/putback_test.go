package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestDiskPutBack puts the disk of a stopped gateway back to an earlier state, from a
// copy of its directory or as a virtual machine's snapshot does: no number is used for two contents, a new epoch
// begins and is told, and delivery goes on. Whatever part of the log goes back, whether
// the broker is there at the start, and however the gateway ended before.
func TestDiskPutBack(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "disk-forgets")
	for _, c := range []struct {
		name   string
		parts  []string // of the log that go back; none: all of data_dir
		kill   bool     // the gateway before ends without a word, so that the last will speaks last
		late   bool     // the broker comes back after the gateway has started
		either bool     // the numbers may go on or not: what was used is known, or was not sent
	}{
		{name: "all"},
		{name: "a snapshot, after a crash", parts: []string{"frames", "state"}, kill: true}, // the birth mark is no copy
		{name: "a snapshot, the broker comes later", parts: []string{"frames", "state"}, late: true},
		{name: "frames alone", parts: []string{"frames"}, either: true},
		{name: "state alone", parts: []string{"state"}, either: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plc := peer.StartPLC(t, "")
			broker := peer.StartMosquitto(t)
			sub := peer.Subscribe(t, broker.Addr, "sub", topic)
			gw := peer.NewGateway(t, connector(broker.URL(), "    payload: json\n"), tables(plc.Addr, 10, "50ms"))
			data := filepath.Join(gw.Dir, "data")
			more := func(what string) {
				t.Helper()
				n := sub.Count()
				peer.WaitFor(t, 20*time.Second, what, func() bool { return sub.Count() > n+200 })
			}
			gw.Start(t)
			more("frames of the first run")
			gw.Stop(t)
			image := filepath.Join(t.TempDir(), "image")
			if err := os.CopyFS(image, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			gw.Start(t)
			more("frames of the run that is forgotten")
			time.Sleep(3 * time.Second) // the broker is told every two
			if c.kill {
				gw.Kill(t)
			} else {
				gw.Stop(t)
			}
			putBack(t, image, data, c.parts)
			if c.late {
				broker.Stop(t)
			}
			gw.Start(t)
			row.Fault(1)
			back := time.Now()
			if c.late {
				time.Sleep(2 * time.Second) // it logs frames under numbers that were used
				broker.Start(t)
			}
			more("frames after the disk was put back")
			row.Recovered(time.Since(back))
			row.Memory(gw.Peak())
			status := run(t, "edge-ctl", "--socket", gw.Socket(), "status")
			told := strings.Contains(gw.Output(), "was put back to an earlier state") && strings.Contains(status, "put back to an earlier state")
			if !told && !c.either {
				t.Errorf("nobody was told:\n%s", status)
			}
			if _, code := gw.Stop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			epochs := checkNumbers(t, sub)
			for _, n := range epochs {
				row.Count(n, 0, 0) // what one number stood for twice has ended the test
			}
			if want := map[bool]int{false: 1, true: 2}[told]; len(epochs) != want {
				t.Errorf("epochs %v, expected %d", epochs, want)
			}
			gw.Start(t) // and that is the end of it
			more("frames of the next run")
			if again := checkNumbers(t, sub); len(again) != len(epochs) {
				t.Errorf("another epoch without a reason: %v", again)
			}
		})
	}
}

// putBack replaces parts of a gateway's data by those of an image.
func putBack(t *testing.T, image, data string, parts []string) {
	t.Helper()
	from, to := []string{image}, []string{data}
	if len(parts) > 0 {
		from, to = nil, nil
		for _, p := range parts {
			from, to = append(from, filepath.Join(image, "log", p)), append(to, filepath.Join(data, "log", p))
		}
	}
	for i := range to {
		if err := os.RemoveAll(to[i]); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to[i], os.DirFS(from[i])); err != nil {
			t.Fatal(err)
		}
	}
}

// checkNumbers looks for a number that stands for two contents, and returns the epochs.
func checkNumbers(t *testing.T, sub *peer.Subscriber) map[string]uint64 {
	t.Helper()
	content, epochs := map[string]string{}, map[string]uint64{}
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			text, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprint(m.Properties["epoch"], "/", f.Seq)
			if was, ok := content[key]; ok && was != string(text) {
				t.Fatalf("%s is %s and %s", key, was, text)
			}
			content[key] = string(text)
			epochs[m.Properties["epoch"]]++
		}
	}
	return epochs
}
