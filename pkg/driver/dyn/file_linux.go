package dyn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// locate opens the executable at path below dir and checks that it may be run. The errors are
// of the field path or sha256.
func locate(dir, path, sum string) (*file, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	shown := filepath.Join(dir, path)
	fail := func(err error) error {
		if missing(err) {
			err = ErrNotInstalled
		}
		return &config.FieldError{Path: []string{"path"}, Msg: fmt.Sprintf("%s %v", shown, err), Err: err}
	}
	dir, err := filepath.EvalSymlinks(dir) // its real path is walked below, and held to the rules
	if err != nil {
		return nil, fail(err)
	}
	f, err := walk(filepath.Join(dir, path))
	if err != nil {
		return nil, fail(err)
	}
	f.path = shown
	if err := f.vet(); err != nil {
		_ = f.Close() // only read
		return nil, fail(err)
	}
	if err := f.checkSum(sum); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return f, nil
}

// walk opens an absolute path, step by step from the root. Each directory on the way, and the
// file, must be trustworthy, and none a symbolic link.
func walk(path string) (*file, error) {
	at, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /: %w", err)
	}
	steps := strings.Split(strings.TrimPrefix(path, "/"), "/")
	name := "/"
	for i, step := range steps {
		err := trusted(at, name)
		flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
		if i < len(steps)-1 {
			flags |= unix.O_DIRECTORY
		}
		next := -1
		name = filepath.Join(name, step)
		if err == nil {
			if next, err = unix.Openat(at, step, flags, 0); errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
				err = fmt.Errorf("%w: %s is a symbolic link, or no directory", ErrRefused, name)
			}
		}
		_ = unix.Close(at) // only read
		if err != nil {
			return nil, err
		}
		at = next
	}
	f := &file{File: os.NewFile(uintptr(at), path)}
	if err := trusted(at, name); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	f.id = identity{st.Dev, st.Ino, st.Size, st.Ctim.Nano()}
	return f, nil
}

// trusted says why a file or directory could have been made or changed by somebody who is
// neither root nor the gateway's user.
func trusted(fd int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to user %d, expected root or the gateway's user", ErrRefused, name, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%w: others than its owner may write to %s (mode %04o); chmod go-w it", ErrRefused, name, st.Mode&0o7777)
	}
	return nil
}

// vet checks what kind of file f is, and what would run it.
func (f *file) vet() error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	switch mode := st.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("%w: expected a regular file", ErrRefused)
	case mode&(os.ModeSetuid|os.ModeSetgid) != 0:
		return fmt.Errorf("%w: it has a set-user-id or set-group-id bit; chmod ug-s it", ErrRefused)
	case mode&0o111 == 0:
		return fmt.Errorf("%w: it is not executable; chmod +x it", ErrRefused)
	}
	interpreter, err := f.interpreter()
	if err != nil || interpreter == "" {
		return err
	}
	f.script = true
	if err := trustedLink(interpreter); err != nil {
		return fmt.Errorf("%w: its interpreter %s: %s", ErrRefused, interpreter, err.Error()) // not that it is missing itself
	}
	return nil
}

// trustedLink checks a path that may lead over symbolic links, such as /usr/bin/python3: the
// directories in which the links are, and the file at the end.
func trustedLink(path string) error {
	for range 16 {
		parent, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return err
		}
		path = filepath.Join(parent, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // no link
			f, err := walk(path)
			if err != nil {
				return err
			}
			return f.Close()
		}
		d, err := walk(parent)
		if err != nil {
			return err
		}
		_ = d.Close() // only looked at
		if !filepath.IsAbs(target) {
			target = filepath.Join(parent, target)
		}
		path = target
	}
	return errors.New("too many symbolic links")
}

// CheckDir says why no driver would be run from a directory.
func CheckDir(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	d, err := walk(real)
	if err != nil {
		return err
	}
	return d.Close()
}
