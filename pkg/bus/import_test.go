package bus

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestImportForgesNothing: a file that somebody made can't put frames into the log that
// look like the gateway's own, its audit above all, or like a driver's.
func TestImportForgesNothing(t *testing.T) {
	open := func() *Bus {
		cfg := DefaultConfig(t.TempDir())
		cfg.WALFlush, cfg.MinFree = time.Millisecond, 0
		b, err := Open(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	forger := open()
	for _, tag := range []string{"sys.audit", "plant.a", "sys.start"} {
		b := frame.Single(frame.Data, "line", frame.Tag{Name: tag}, frame.Frame{Value: frame.IntValue(1), TS: 1, Quality: frame.Good})
		if err := forger.PublishSync(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := forger.PublishSys("sys.audit", map[string]any{"user": "root"}); err != nil {
		t.Fatal(err)
	}
	if err := forger.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var export bytes.Buffer
	if _, err := forger.Archive().Export(t.Context(), &export, 0, 0); err != nil {
		t.Fatal(err)
	}
	target := open()
	if _, err := target.Import(t.Context(), &export); err != nil {
		t.Fatal(err)
	}
	if err := target.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := target.OpenReader("x", StartOldest)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	n := 0
	for {
		batches, err := c.Read(ctx, 100)
		if err != nil {
			break
		}
		for _, b := range batches {
			for i := range b.Frames {
				n++
				if b.Tag(i).Name != "plant.a" || b.Set.Driver != "import-line" {
					t.Errorf("%s of %s came in", b.Tag(i).Name, b.Set.Driver)
				}
			}
		}
	}
	if n != 1 {
		t.Errorf("%d frames", n)
	}
}
