// Package endpointtest is what every transport of package endpoint must do. A
// new transport's first test is one call of [Suite.Run].
package endpointtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Suite tests one transport, with all of its layers.
type Suite struct {
	// Connect makes a connection through the transport, and returns it with the
	// device's end. It fails the test on an error, and leaves both open; what
	// else it starts it ends with t.Cleanup.
	Connect func(t testing.TB) (conn endpoint.Conn, device net.Conn)
	// Stuck dials a device that never answers, with a timeout of a minute or
	// more. Nil where a dial can't hang.
	Stuck func(ctx context.Context, t testing.TB) (endpoint.Conn, error)
	// Datagrams: a device that doesn't read stops nobody from writing.
	Datagrams bool
	// Silent: a device that closes its end isn't noticed.
	Silent bool
}

const (
	// soon is a deadline short enough to wait for.
	soon = 60 * time.Millisecond
	// slack is how late things may happen on a busy machine.
	slack = 2 * time.Second
)

// Run runs every test of the suite.
func (s Suite) Run(t *testing.T) {
	tests := []struct {
		name string
		test func(*testing.T)
		skip bool
	}{
		{"exchange", s.exchange, false},
		{"partial reads", s.partialReads, false},
		{"pieces", s.pieces, false},
		{"read deadline", s.readDeadline, false},
		{"deadline of the past", s.pastDeadline, false},
		{"deadline set while reading", s.deadlineWhileReading, false},
		{"write deadline", s.writeDeadline, s.Datagrams},
		{"close ends a read", s.closeEndsRead, false},
		{"close ends a write", s.closeEndsWrite, s.Datagrams},
		{"concurrent close", s.concurrentClose, false},
		{"device closes", s.deviceCloses, s.Silent},
		{"device falls silent", s.deviceFallsSilent, false},
		{"cancelled dial", s.cancelledDial, s.Stuck == nil},
	}
	for _, tt := range tests {
		if tt.skip { // doesn't apply to the transport
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			t.Run("conn", tt.test) // ends with its cleanups
			goleak.VerifyNone(t, ignore)
		})
	}
}

// connect returns both ends, to be closed with the test.
func (s Suite) connect(t *testing.T) (conn endpoint.Conn, device net.Conn) {
	t.Helper()
	conn, device = s.Connect(t)
	t.Cleanup(func() {
		// Tests close them too, and then this says so.
		_ = conn.Close()
		_ = device.Close()
	})
	return conn, device
}

func mustWrite(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); err != nil || n != len(text) {
		t.Fatalf("write %q: %d, %v", text, n, err)
	}
}

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if n, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
		t.Fatalf("read %q, %v; want %q", buf[:n], err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s Suite) exchange(t *testing.T) {
	conn, device := s.connect(t)
	for _, text := range []string{"a", "request", string(bytes.Repeat([]byte{0, 0xff, '\r', '\n', 0x11, 0x13, 3, 4}, 32))} {
		mustWrite(t, conn, text)
		mustRead(t, device, text)
		mustWrite(t, device, text)
		mustRead(t, conn, text)
	}
	if conn.LocalAddr() == nil || conn.RemoteAddr() == nil {
		t.Error("no addresses")
	}
}

// partialReads: what a short read leaves is not lost.
func (s Suite) partialReads(t *testing.T) {
	conn, device := s.connect(t)
	mustWrite(t, device, "headerbody")
	mustRead(t, conn, "header")
	mustRead(t, conn, "body")
}

// pieces: an answer that comes in pieces can be read as one.
func (s Suite) pieces(t *testing.T) {
	conn, device := s.connect(t)
	go func() {
		for _, b := range []byte("in pieces") {
			_, _ = device.Write([]byte{b}) // the read below tells
		}
	}()
	mustRead(t, conn, "in pieces")
}

// isTimeout accepts what package net would return.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &timeout) && timeout.Timeout()
}

func (s Suite) readDeadline(t *testing.T) {
	conn, device := s.connect(t)
	start := time.Now()
	must(t, conn.SetReadDeadline(start.Add(soon)))
	n, err := conn.Read(make([]byte, 8))
	if n != 0 || !isTimeout(err) {
		t.Fatalf("Read = %d, %v; want a timeout", n, err)
	}
	if took := time.Since(start); took < soon || took > soon+slack {
		t.Errorf("timed out after %v instead of %v", took, soon)
	}
	// The connection has lost nothing.
	must(t, conn.SetReadDeadline(time.Now().Add(slack)))
	mustWrite(t, device, "late")
	mustRead(t, conn, "late")
	mustWrite(t, conn, "next")
	mustRead(t, device, "next")
}

func (s Suite) pastDeadline(t *testing.T) {
	conn, device := s.connect(t)
	must(t, conn.SetDeadline(time.Now().Add(-time.Second)))
	if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("Read: %v, want a timeout", err)
	}
	if _, err := conn.Write([]byte("x")); !isTimeout(err) {
		t.Errorf("Write: %v, want a timeout", err)
	}
	must(t, conn.SetReadDeadline(time.Now().Add(slack)))
	mustWrite(t, device, "fine")
	mustRead(t, conn, "fine")
}

func (s Suite) deadlineWhileReading(t *testing.T) {
	conn, _ := s.connect(t)
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	err := s.interrupt(t, func() error {
		_, err := conn.Read(make([]byte, 1))
		return err
	}, func() { must(t, conn.SetReadDeadline(time.Now())) })
	if !isTimeout(err) {
		t.Errorf("Read: %v, want a timeout", err)
	}
}

// interrupt calls stop while blocked blocks, and returns what that returns.
func (s Suite) interrupt(t *testing.T, blocked func() error, stop func()) error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- blocked() }()
	select {
	case err := <-result:
		t.Fatalf("ended before it was interrupted: %v", err)
	case <-time.After(soon): // long enough to block
	}
	stop()
	select {
	case err := <-result:
		return err
	case <-time.After(slack):
		t.Fatal("wasn't interrupted")
		return nil
	}
}

// fill writes until something stops it.
func fill(conn endpoint.Conn) error {
	chunk := make([]byte, 64<<10)
	for {
		if _, err := conn.Write(chunk); err != nil {
			return err
		}
	}
}

func (s Suite) writeDeadline(t *testing.T) {
	conn, _ := s.connect(t)
	start := time.Now()
	must(t, conn.SetWriteDeadline(start.Add(4*soon)))
	if err := fill(conn); !isTimeout(err) {
		t.Errorf("Write: %v, want a timeout", err)
	}
	if took := time.Since(start); took < 4*soon || took > 4*soon+slack {
		t.Errorf("timed out after %v instead of %v", took, 4*soon)
	}
}

func (s Suite) closeEndsRead(t *testing.T) {
	conn, _ := s.connect(t)
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	err := s.interrupt(t, func() error {
		_, err := conn.Read(make([]byte, 1))
		return err
	}, func() { must(t, conn.Close()) })
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v, want net.ErrClosed", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("Read after Close worked")
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("Write after Close worked")
	}
}

func (s Suite) closeEndsWrite(t *testing.T) {
	conn, _ := s.connect(t)
	must(t, conn.SetWriteDeadline(time.Now().Add(time.Minute)))
	err := s.interrupt(t, func() error { return fill(conn) }, func() { _ = conn.Close() })
	if err == nil {
		t.Error("Write ended without an error")
	}
}

// concurrentClose: users who all give up at once.
func (s Suite) concurrentClose(t *testing.T) {
	conn, device := s.connect(t)
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			_, _ = conn.Read(make([]byte, 16)) // whatever, as long as it ends
		})
		all.Go(func() {
			for range 100 {
				_, _ = conn.Write([]byte("x"))
			}
		})
		all.Go(func() {
			_ = conn.Close()
		})
		all.Go(func() { _ = conn.SetDeadline(time.Now().Add(time.Minute)) })
	}
	must(t, device.SetReadDeadline(time.Now().Add(soon)))
	_, _ = io.Copy(io.Discard, device)
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(slack):
		t.Fatal("somebody still waits after Close")
	}
}

func (s Suite) deviceCloses(t *testing.T) {
	conn, device := s.connect(t)
	must(t, conn.SetReadDeadline(time.Now().Add(slack)))
	if s.Datagrams { // of which the last may be lost
		must(t, device.Close())
	} else {
		mustWrite(t, device, "last words")
		must(t, device.Close())
		mustRead(t, conn, "last words")
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Errorf("Read after the device closed: %d, %v", n, err)
	}
}

// deviceFallsSilent: without any deadline of the user's, the endpoint's own
// timeout ends a read.
func (s Suite) deviceFallsSilent(t *testing.T) {
	conn, _ := s.connect(t)
	mustWrite(t, conn, "hello?")
	done := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		done <- err
	}()
	select {
	case err := <-done:
		if !isTimeout(err) {
			t.Errorf("Read: %v, want a timeout", err)
		}
	case <-time.After(10*time.Second + slack):
		t.Error("a read without deadline never ends")
	}
}

func (s Suite) cancelledDial(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := s.interrupt(t, func() error {
		conn, err := s.Stuck(ctx, t)
		if err == nil {
			_ = conn.Close() // it should not exist
		}
		return err
	}, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v, want context.Canceled", err)
	}
}
