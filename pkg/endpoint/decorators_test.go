package endpoint

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a connection that takes what is written, with the time of each
// write, and returns what is put into in.
type memory struct {
	net.Conn // nil: what isn't defined here must not be called
	mu       sync.Mutex
	written  int
	at       []time.Time
	in       chan []byte
	limit    time.Time
}

func newMemory() *memory { return &memory{in: make(chan []byte, 100)} }

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written += len(p)
	m.at = append(m.at, time.Now())
	return len(p), nil
}

func (m *memory) Read(p []byte) (int, error) {
	select {
	case b := <-m.in:
		return copy(p, b), nil
	case <-time.After(time.Until(m.limit)):
		return 0, os.ErrDeadlineExceeded
	}
}

func (m *memory) Close() error                       { return nil }
func (m *memory) SetDeadline(t time.Time) error      { m.limit = t; return nil }
func (m *memory) SetReadDeadline(t time.Time) error  { m.limit = t; return nil }
func (m *memory) SetWriteDeadline(t time.Time) error { return nil }

func rated(rate string, more string) *limiter {
	u, err := Parse("tcp://h:1?rate=" + rate + more)
	if err != nil {
		panic(err)
	}
	return newLimiter(u.options)
}

// TestRate counts what goes through in ten seconds.
func TestRate(t *testing.T) {
	tests := []struct {
		rate, more    string
		size          int
		conns         int
		packets, atMo int // at least, at most, in 10 s
	}{
		{"200pps", "", 10, 1, 2000, 2001},
		{"200pps", "", 10, 4, 2000, 2001}, // the connections share it
		{"5pps", "&burst=20", 10, 1, 69, 71},
		{"64kBps", "&burst_bytes=1K", 1000, 1, 640, 642},
		{"1kBps", "&burst_bytes=100", 1000, 1, 9, 11},           // larger than the burst
		{"1000pps,10kBps", "&burst_bytes=1", 100, 1, 999, 1001}, // the lower of both
		{"10pps,1MBps", "", 100, 1, 100, 101},
		{"0.5pps", "", 10, 1, 5, 6},
	}
	for _, tt := range tests {
		t.Run(tt.rate+tt.more, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, limit := newMemory(), rated(tt.rate, tt.more)
				end := time.Now().Add(10 * time.Second)
				var all sync.WaitGroup
				for range tt.conns {
					c := limitRate(limit)(m)
					_ = c.SetWriteDeadline(end)
					all.Go(func() {
						for {
							if _, err := c.Write(make([]byte, tt.size)); err != nil {
								if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(end) {
									t.Errorf("%v at %v", err, time.Until(end))
								}
								return
							}
						}
					})
				}
				all.Wait()
				if n := len(m.at); n < tt.packets || n > tt.atMo {
					t.Errorf("%d packets in 10 s, want %d to %d", n, tt.packets, tt.atMo)
				}
			})
		})
	}
	if limitRate(newLimiter(Options{})) != nil {
		t.Error("a layer without a rate")
	}
}

// TestRateGivesBack: a write that didn't go doesn't count.
func TestRateGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		c := limitRate(rated("1pps", ""))(m)
		start := time.Now()
		for range 50 {
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			_, _ = c.Write([]byte("x")) // the first goes
		}
		_ = c.SetDeadline(time.Time{})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Second || len(m.at) != 2 {
			t.Errorf("the second of %d packets went after %v, want 1s", len(m.at), took)
		}
	})
}

// TestRateEndsWithClose: so does a wait for silence, which is the same gate.
func TestRateEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limitRate(rated("0.01pps", ""))(newMemory())
		_, _ = c.Write([]byte("x"))
		result := make(chan error)
		go func() {
			_, err := c.Write([]byte("x"))
			result <- err
		}()
		synctest.Wait()
		_ = c.SetWriteDeadline(time.Now().Add(time.Hour)) // later than the wait: no effect
		_ = c.Close()
		_ = c.Close()
		if err := <-result; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v, want net.ErrClosed", err)
		}
	})
}

func TestSilence(t *testing.T) {
	tests := []struct {
		query string
		char  time.Duration
		quiet time.Duration
	}{
		{"serial:///dev/ttyS0?baud=9600&parity=E", 1145833, 4010415},               // 11 bits
		{"serial:///dev/ttyS0?baud=9600", 1041666, 3645831},                        // 10 bits
		{"serial:///dev/ttyS0?baud=19200&stop_bits=2", 572916, 2005206},            // 11 bits
		{"serial:///dev/ttyS0?baud=38400", 260416, 1750 * time.Microsecond},        // fixed by the standard
		{"serial:///dev/ttyS0?baud=300&data_bits=5&stop_bits=1.5", 25e6, 87.5e6},   // 7.5 bits
		{"serial:///dev/ttyS0?baud=300&data_bits=7&parity=O", 33333333, 116666665}, // 10 bits
		{"serial:///dev/ttyS0?baud=9600&turnaround=20ms", 1041666, 20e6},           // the longer of both
		{"tcp://h:1?halfduplex=1&turnaround=3ms", 0, 3e6},                          // no line known
		{"tcp://h:1?halfduplex=1&baud=9600", 1041666, 3645831},                     // behind a serial server
		{"serial:///dev/ttyS0?baud=921600&turnaround=1ms", 10850, 1750 * time.Microsecond},
	}
	for _, tt := range tests {
		o := mustParse(t, tt.query).options
		if c, s := characterTime(o), silence(o); c != tt.char || s != tt.quiet {
			t.Errorf("%s: character %v, silence %v; want %v, %v", tt.query, c, s, tt.char, tt.quiet)
		}
	}
}

// TestHalfDuplex measures the silence before each write.
func TestHalfDuplex(t *testing.T) {
	o := mustParse(t, "serial:///dev/ttyS0?baud=9600&parity=E").options
	const char, quiet = 1145833, 4010415
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		c := halfDuplex(o)(m)
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		request := make([]byte, 8)
		write := func(wait time.Duration, why string) {
			t.Helper()
			start := time.Now()
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != wait {
				t.Errorf("%s: waited %v, want %v", why, took, wait)
			}
		}
		write(0, "first")
		write(8*char+quiet, "while the request before is on the line")
		time.Sleep(time.Second)
		write(0, "after a long silence")
		time.Sleep(20 * time.Millisecond) // the device's answer, on an idle line
		m.in <- []byte("answer")
		if _, err := c.Read(make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		write(quiet-time.Millisecond, "after an answer")

		// Bytes that arrive while a write waits begin the silence anew.
		time.Sleep(time.Second)
		m.in <- []byte("x")
		_, _ = c.Read(make([]byte, 1))
		go func() {
			time.Sleep(2 * time.Millisecond)
			m.in <- []byte("y")
			_, _ = c.Read(make([]byte, 1))
		}()
		write(2*time.Millisecond+quiet, "while somebody talks")

		// The deadline comes first.
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		start := time.Now()
		if _, err := c.Write(request); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Write: %v after %v", err, time.Since(start))
		}
	})
	if halfDuplex(mustParse(t, "tcp://h:1").options) != nil {
		t.Error("a layer that wasn't asked for")
	}
}

func TestDeadlineLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limitTime(time.Second)(newMemory()).(*deadlineConn)
		read := func(want time.Duration, why string) {
			t.Helper()
			start := time.Now()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != want {
				t.Errorf("%s: %v after %v, want a timeout after %v", why, err, time.Since(start), want)
			}
		}
		read(time.Second, "no deadline")
		read(time.Second, "no deadline, again")
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		read(time.Minute, "the user's")
		read(0, "the user's, in the past")
		_ = c.SetReadDeadline(time.Time{})
		read(time.Second, "the user's, taken back")
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		c.reset()
		read(time.Second, "the user's before")
		_ = c.SetWriteDeadline(time.Now().Add(time.Hour))
		read(time.Second, "for writing")
	})
}

func TestMeterLayer(t *testing.T) {
	var first, second account
	var to atomic.Pointer[account]
	m := newMemory()
	m.limit = time.Now().Add(time.Hour)
	c := meter(&to)(m)
	to.Store(&first)
	_, _ = c.Write([]byte("12345"))
	m.in <- []byte("123")
	_, _ = io.ReadFull(c, make([]byte, 3))
	to.Store(&second)
	_, _ = c.Write([]byte("1"))
	m.limit = time.Now().Add(-time.Hour)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read nothing without an error")
	}
	if first.out.Load() != 5 || first.in.Load() != 3 || second.out.Load() != 1 || second.in.Load() != 0 {
		t.Errorf("counted %d/%d and %d/%d", first.in.Load(), first.out.Load(), second.in.Load(), second.out.Load())
	}
}

func TestTraceLayer(t *testing.T) {
	var records []string
	a := &account{log: slog.New(&recorder{lines: &records})}
	var to atomic.Pointer[account]
	to.Store(a)
	m := newMemory()
	m.limit = time.Now().Add(-time.Hour)
	c := trace(&to, 7)(m)
	_, _ = c.Write([]byte("silent"))
	a.trace.Store(true)
	_, _ = c.Write(make([]byte, 2*maxDump))
	_, _ = c.Read(make([]byte, 1))
	if len(records) != 2 || records[0] != "sent" || records[1] != "received" {
		t.Errorf("records: %v", records)
	}
}

// recorder keeps the messages of log records.
type recorder struct {
	slog.Handler
	lines *[]string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	*r.lines = append(*r.lines, rec.Message)
	return nil
}
