package endpoint

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// A pseudo-terminal takes every setting and obeys none, so settings are compared
// with what the library is told.
func TestSerialMode(t *testing.T) {
	tests := []struct {
		query string
		want  serial.Mode
	}{
		{"", serial.Mode{BaudRate: 9600, DataBits: 8}},
		{"?baud=300&data_bits=7&parity=o&stop_bits=2", serial.Mode{BaudRate: 300, DataBits: 7, Parity: serial.OddParity, StopBits: serial.TwoStopBits}},
		{"?baud=921600&parity=E", serial.Mode{BaudRate: 921600, DataBits: 8, Parity: serial.EvenParity}},
		{"?data_bits=5&stop_bits=1.5", serial.Mode{BaudRate: 9600, DataBits: 5, StopBits: serial.TwoStopBits}},
	}
	for _, tt := range tests {
		if got := *serialMode(mustParse(t, "serial:///dev/ttyS0"+tt.query).options); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.query, got, tt.want)
		}
	}
}

func TestRS485Settings(t *testing.T) {
	if size := unsafe.Sizeof(rs485{}); size != 32 {
		t.Fatalf("struct serial_rs485 has 32 bytes, not %d", size)
	}
	tests := []struct {
		query string
		want  rs485
	}{
		{"?rs485=1", rs485{flags: 1 | 2}},
		{"?rs485=1&rs485_rts_on_send=0&rs485_rts_after_send=1", rs485{flags: 1 | 4}},
		{"?rs485=1&rs485_rx_during_tx=1&rs485_delay_before=3ms&rs485_delay_after=100ms", rs485{flags: 1 | 2 | 16, delayBefore: 3, delayAfter: 100}},
	}
	for _, tt := range tests {
		if got := rs485Settings(mustParse(t, "serial:///dev/ttyS0"+tt.query).options); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.query, got, tt.want)
		}
	}
}

// nullModem runs socat as a cable between two terminals; unplug ends it.
func nullModem(t testing.TB) (a, b string, unplug func()) {
	t.Helper()
	dir := t.TempDir()
	a, b = filepath.Join(dir, "ttyA"), filepath.Join(dir, "ttyB")
	cmd := exec.Command("socat", "pty,raw,echo=0,link="+a, "pty,raw,echo=0,link="+b)
	if err := cmd.Start(); err != nil {
		t.Fatal("socat is needed: ", err)
	}
	ended := false
	unplug = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
			_ = os.Remove(a)
			_ = os.Remove(b)
		}
	}
	t.Cleanup(unplug)
	waitFor(t, func() bool {
		_, errA := os.Stat(a)
		_, errB := os.Stat(b)
		return errA == nil && errB == nil
	})
	return a, b, unplug
}

func openLine(t testing.TB, path, query string) Conn {
	t.Helper()
	c, err := Dial(context.Background(), mustParse(t, "serial://"+path+query), DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestSerialPool polls a device on a line until the adapter is unplugged.
func TestSerialPool(t *testing.T) {
	a, b, unplug := nullModem(t)
	device := openLine(t, b, "?baud=115200&halfduplex=0")
	_ = device.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.Copy(device, device) }() // ends with the cable
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "line", mustParse(t, "rtu+serial://"+a+"?baud=115200"))
	for range 3 {
		l := mustAcquire(t, h)
		if l.RemoteAddr().Network() != "serial" || l.RemoteAddr().String() != a {
			t.Errorf("address %s %s", l.RemoteAddr().Network(), l.RemoteAddr())
		}
		echo(t, l, "request and answer")
		// An answer that is too late for one request isn't the next one's.
		if _, err := l.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		conn := h.group.Load().conns[0].link
		waitFor(t, func() bool { return queued(t, conn) >= 4 })
		l.Release(nil)
	}
	if st, _ := p.State("line"); st.Reconnects != 0 || st.Open != 1 {
		t.Errorf("%+v", st)
	}
	l := mustAcquire(t, h)
	unplug()
	if _, err := l.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read from an unplugged line: %v", err)
	} else {
		l.Release(err)
	}
	if _, err := h.Acquire(context.Background()); !errors.Is(err, ErrDown) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Acquire of an unplugged line: %v", err)
	}
}

// TestSerialSilence measures, on the far end, the silence between an answer and
// the next request.
func TestSerialSilence(t *testing.T) {
	a, b, _ := nullModem(t)
	line, device := openLine(t, a, "?baud=1200&parity=E"), openLine(t, b, "?baud=1200&halfduplex=0")
	quiet := silence(mustParse(t, "serial:///dev/x?baud=1200&parity=E").options) // 32 ms
	request := []byte{1, 3, 0, 0, 0, 1, 0x84, 0x0a}
	var last time.Time
	for i := range 4 {
		if _, err := line.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(device, make([]byte, len(request))); err != nil {
			t.Fatal(err)
		}
		if gap := time.Since(last); i > 0 && (gap < quiet || gap > quiet+time.Second) {
			t.Errorf("request %d came %v after the answer before it, want at least %v", i, gap, quiet)
		}
		if _, err := device.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		last = time.Now()
		if _, err := io.ReadFull(line, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSerialErrors(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, _, _ := nullModem(t)
	tests := []struct {
		path, query, want string
		is                error
	}{
		{"/nonexistent/ttyUSB7", "", "/nonexistent/ttyUSB7", os.ErrNotExist},
		{plain, "", "open " + plain, nil},
		{a, "?rs485=1", "opts.rs485", nil}, // a pseudo-terminal has none
	}
	for _, tt := range tests {
		_, err := Dial(context.Background(), mustParse(t, "serial://"+tt.path+tt.query), DialOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s%s: %v, want …%s…", tt.path, tt.query, err, tt.want)
		}
	}
	c := openLine(t, a, "") // the failures before left nothing open
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Dial(ctx, mustParse(t, "serial://"+a), DialOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with an ended context: %v", err)
	}
}

// queued is how many bytes wait to be read on a serial line.
func queued(t *testing.T, l *link) (n int) {
	t.Helper()
	c := l.Conn.(*lineConn).Conn.(*deadlineConn).Conn.(*halfDuplexConn).Conn.(*serialConn)
	err := c.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
