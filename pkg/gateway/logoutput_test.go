package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a stream whose reader can stall or be gone.
type gate struct {
	mu   sync.Mutex
	wait chan struct{} // not nil: stalled
	err  error
	got  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	wait, err := g.wait, g.err
	g.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

func (g *gate) set(wait chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait, g.err = wait, err
}

// TestStalledReaderOfTheLog: nobody who logs waits, and no memory grows; what was lost
// is told.
func TestStalledReaderOfTheLog(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		synctest.Test(t, func(t *testing.T) {
			stream := &gate{}
			out := NewLogOutput(stream)
			log, err := NewLogger(out, format, new(slog.LevelVar))
			if err != nil {
				t.Fatal(err)
			}
			log.Info("before")
			synctest.Wait()
			stalled := make(chan struct{})
			stream.set(stalled, nil)
			began := time.Now()
			for range 3 * maxLogLines {
				log.Info("while it stalls", "text", strings.Repeat("x", 1000))
			}
			if time.Since(began) != 0 {
				t.Error("who logs has to wait")
			}
			if n := out.bytes.Load(); n > maxLogBytes {
				t.Errorf("%d bytes wait", n)
			}
			if out.Dropped() < 2*maxLogLines {
				t.Errorf("%d were dropped", out.Dropped())
			}
			stream.set(nil, nil)
			close(stalled)
			synctest.Wait()
			log.Info("after")
			out.Close(time.Second)
			text := stream.got.String()
			if !strings.Contains(text, "before") || !strings.Contains(text, "were dropped") || !strings.Contains(text, "after") || out.bytes.Load() != 0 {
				t.Errorf("%s: %d bytes of log", format, len(text))
			}
			log.Info("too late") // and nothing happens
		})
	}
}

// TestStopWithAStalledReader: a stop waits for the log's reader for its limit, no
// longer.
func TestStopWithAStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{})
		stream := &gate{wait: stalled}
		out := NewLogOutput(stream)
		if _, err := out.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		out.Close(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("the stop took %s", took)
		}
		began = time.Now()
		if _, err := io.WriteString(Patient(stream, time.Second), "last words"); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		close(stalled)
	})
}

// TestReaderOfTheLogIsGone: a closed pipe is no reason to end, nor to keep lines.
func TestReaderOfTheLogIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := NewLogOutput(&gate{err: errors.New("broken pipe")})
		for range 100 {
			if _, err := out.Write([]byte("line\n")); err != nil {
				t.Fatal(err)
			}
		}
		out.Close(time.Second)
		if out.Dropped() != 100 {
			t.Errorf("%d were counted", out.Dropped())
		}
	})
}
