package endpoint

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"unsafe"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// serialConn is an open serial line. The library sets the line up and owns it
// exclusively; bytes go through a file of our own on the same device, since a
// file that polls has deadlines, and its Close ends a blocked Read.
type serialConn struct {
	*os.File
	line serial.Port
	addr serialAddr
}

func openSerial(device string, o Options) (_ Conn, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open %s: %w", device, err)
		}
	}()
	// Before the library, which makes the line exclusive.
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: by another process", ErrLineInUse)
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), device)
	line, err := serial.Open(device, serialMode(o))
	if err != nil {
		_ = file.Close() // the first error counts
		return nil, err
	}
	c := &serialConn{File: file, line: line, addr: serialAddr(device)}
	if err := c.prepare(o); err != nil {
		_ = c.Close() // the first error counts
		return nil, err
	}
	return c, nil
}

// prepare turns on RS-485 and drops what was received before.
func (c *serialConn) prepare(o Options) error {
	if o.RS485 {
		settings := rs485Settings(o)
		err := c.control(func(fd int) error {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSRS485, uintptr(unsafe.Pointer(&settings)))
			if errno != 0 {
				return errno
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("opts.rs485: the device's driver doesn't support it: %w", err)
		}
	}
	return c.check()
}

// check drops what came in while nobody listened: noise, or an answer that was
// too late. An unplugged adapter is an error.
func (c *serialConn) check() error {
	if err := c.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }); err != nil {
		return fmt.Errorf("serial line: %w", err)
	}
	return nil
}

func (c *serialConn) control(f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = f(int(fd)) }); err != nil {
		return err
	}
	return done
}

func (c *serialConn) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	return n, serialError(err)
}

func (c *serialConn) Write(p []byte) (int, error) {
	n, err := c.File.Write(p)
	return n, serialError(err)
}

// serialError speaks of closing as package net does, and of a device that is
// gone (end of file, on a terminal) as an error.
func serialError(err error) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, io.EOF):
		return fmt.Errorf("serial line hung up: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// Close is safe to call twice: so are both closers.
func (c *serialConn) Close() error {
	err := c.File.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, c.line.Close())
}

func (c *serialConn) LocalAddr() net.Addr  { return c.addr }
func (c *serialConn) RemoteAddr() net.Addr { return c.addr }
