package clitest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a terminal whose person is a test. A command gets its other side,
// Device, as its streams.
type Terminal struct {
	Device *os.File

	t      testing.TB
	master *os.File
	mu     sync.Mutex
	shown  strings.Builder
}

// NewTerminal opens a terminal of that size.
func NewTerminal(t testing.TB, columns, rows uint16) *Terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The file stays non-blocking: its Fd would make it block, and a close then waits for a read.
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var ioctlErr error
	if err := raw.Control(func(fd uintptr) {
		if ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctlErr == nil {
			n, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || ioctlErr != nil {
		t.Fatal(err, ioctlErr)
	}
	device, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &Terminal{Device: device, t: t, master: master}
	term.Resize(columns, rows)
	var reading sync.WaitGroup
	reading.Go(term.read)
	t.Cleanup(func() {
		_, _ = device.Close(), master.Close() // the test is over
		reading.Wait()
	})
	return term
}

// Resize gives the terminal another size. Its command is not told.
func (t *Terminal) Resize(columns, rows uint16) {
	t.t.Helper()
	if err := unix.IoctlSetWinsize(int(t.Device.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.t.Fatal(err)
	}
}

// Cooked reports whether the terminal is as a shell leaves it: it echoes, and reads lines.
func (t *Terminal) Cooked() bool {
	t.t.Helper()
	state, err := unix.IoctlGetTermios(int(t.Device.Fd()), unix.TCGETS)
	if err != nil {
		t.t.Fatal(err)
	}
	return state.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) == unix.ECHO|unix.ICANON|unix.ISIG
}

func (t *Terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.shown.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Shown is everything that was written to the terminal.
func (t *Terminal) Shown() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.String()
}

// Type types keys.
func (t *Terminal) Type(keys string) {
	t.t.Helper()
	if _, err := t.master.WriteString(keys); err != nil {
		t.t.Fatal(err)
	}
}

// WaitFor waits until text is shown behind the first from bytes, and returns where it ends.
func (t *Terminal) WaitFor(text string, from int) int {
	t.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // it comes from outside
		if at := strings.Index(t.Shown()[from:], text); at >= 0 {
			return from + at + len(text)
		}
	}
	t.t.Fatalf("%q is not shown: %q", text, t.Shown()[from:])
	return 0
}
