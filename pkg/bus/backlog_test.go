package bus

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestBacklog piles up a backlog (EDGE_BACKLOG MiB, 32 by default) and checks that
// it costs no memory, that a log with it opens fast, and that all of it is there.
func TestBacklog(t *testing.T) {
	mib := 32
	if n, err := strconv.Atoi(os.Getenv("EDGE_BACKLOG")); err == nil && n > 0 {
		mib = n
	}
	cfg := testConfig(t.TempDir())
	cfg.WALMaxBytes, cfg.WALFlush, cfg.RingPow = 64<<30, 100*time.Millisecond, 16
	b := openBus(t, cfg, Deps{})
	openReader(t, b, "mqtt")
	set := testSet("plc", 1000)
	r := rand.New(rand.NewPCG(1, 1))
	values := make([]frame.Frame, 4000) // doubles that take all their bytes
	for i := range values {
		values[i] = frame.Frame{Value: frame.FloatValue(r.NormFloat64()), Tag: uint32(i % 1000)}
	}
	var most uint64
	began := time.Now()
	for n := 0; b.log.Bytes() < uint64(mib)<<20; n++ {
		at := r.IntN(3) * 1000
		publish(t, b, &frame.Batch{Set: set, Frames: values[at : at+1000]})
		if n%1000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
	}
	syncBus(t, b)
	frames := b.Head()
	t.Logf("%d frames, %d MiB, in %v; heap at most %d MiB; write amplification %.2f", frames, mib, time.Since(began).Round(time.Millisecond), most>>20, b.Stats().WriteAmplification)
	if most > 128<<20 {
		t.Errorf("heap of %d MiB", most>>20)
	}
	crashed := cfg
	crashed.WALDir = t.TempDir()
	linkTree(t, cfg.WALDir, crashed.WALDir) // what a crash leaves: nothing was closed
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	b = openBus(t, crashed, Deps{})
	took := time.Since(began)
	if took > 2*time.Second {
		t.Errorf("open took %v", took)
	}
	began = time.Now()
	done, err := b.Archive().Replay(t.Context(), Selection{}, func(*frame.Batch) error { return nil })
	if err != nil || done.Frames != frames || len(done.Damaged) > 0 {
		t.Fatalf("replayed %d frames of %d, %v", done.Frames, frames, err)
	}
	t.Logf("open after a crash took %v; replay %.1f M frames/s", took.Round(time.Millisecond), float64(frames)/time.Since(began).Seconds()/1e6)
}

// linkTree makes to a copy of from, with links in the place of files.
func linkTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o700)
		}
		return os.Link(path, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}
