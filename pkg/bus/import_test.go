package bus

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
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

// TestImportOfNamesThatNoTableHas: what a file names would become topics and columns of
// others; a command in it would look like one that was taken.
func TestImportOfNamesThatNoTableHas(t *testing.T) {
	open := func() *Bus {
		return openBus(t, testConfig(t.TempDir()), Deps{})
	}
	for name, x := range map[string]struct {
		driver string
		tag    frame.Tag
		kind   frame.Kind
		frames uint64
		bad    bool
	}{
		"usual":              {driver: "line", tag: frame.Tag{Name: "温度.a_1", Unit: "°C"}, frames: 1},
		"imported before":    {driver: "import-line", tag: frame.Tag{Name: "a"}, frames: 1},
		"a command":          {driver: "line", tag: frame.Tag{Name: "a"}, kind: frame.Cmd},
		"an unknown kind":    {driver: "line", tag: frame.Tag{Name: "a"}, kind: 9},
		"another's topic":    {driver: "line", tag: frame.Tag{Name: "../../cmd/acme/other"}, bad: true},
		"a wildcard":         {driver: "line", tag: frame.Tag{Name: "#"}, bad: true},
		"the broker's topic": {driver: "$SYS", tag: frame.Tag{Name: "a"}, bad: true},
		"a terminal":         {driver: "line", tag: frame.Tag{Name: "a\x1b[2J"}, bad: true},
		"a direction":        {driver: "line", tag: frame.Tag{Name: "a", Unit: "\u202ebar"}, bad: true},
		"a long name":        {driver: "line", tag: frame.Tag{Name: strings.Repeat("x", 1000)}, bad: true},
		"a long unit":        {driver: "line", tag: frame.Tag{Name: "x", Unit: strings.Repeat("x", 1000)}, bad: true},
		"a long driver":      {driver: strings.Repeat("x", 1000), tag: frame.Tag{Name: "x"}, bad: true},
		"no driver":          {tag: frame.Tag{Name: "a"}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			forger, target := open(), open()
			b := frame.Single(x.kind, x.driver, x.tag, frame.Frame{Value: frame.IntValue(1), TS: 1})
			if err := forger.PublishSync(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			var export bytes.Buffer
			if _, err := forger.Archive().Export(t.Context(), &export, 0, 0); err != nil {
				t.Fatal(err)
			}
			_, err := target.Import(t.Context(), &export)
			if (err != nil) != x.bad || err != nil && !errors.Is(err, wal.ErrBadExport) {
				t.Errorf("%v", err)
			}
			if err := target.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := target.Stats().LastSeq; n != x.frames {
				t.Errorf("%d frames came in, want %d", n, x.frames)
			}
		})
	}
}
