package dyn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"

	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// process is a driver's process: what go-plugin calls a runner.
type process struct {
	path   string // for people
	dir    string // for its socket and temporary files
	cmd    *exec.Cmd
	limits Limits
	log    *slog.Logger
	said   *said

	stdin    *os.File    // its end is the driver's
	out      [2]*os.File // standard output and error, to read
	hello    *io.PipeReader
	helloIn  *io.PipeWriter
	pid      atomic.Int64           // 0: it was not started
	version  atomic.Pointer[string] // of the contract, as the driver says; nil before it did
	done     chan struct{}          // closed when the process has ended and is cleaned up after
	err      error                  // why Wait failed; read after done
	killOnce sync.Once
	readers  sync.WaitGroup
}

// newProcess prepares the process of an executable. env is what go-plugin wants the driver to
// know.
func newProcess(f *file, dir string, env []string, limits Limits, log *slog.Logger, said *said) *process {
	p := &process{path: f.path, dir: dir, limits: limits, log: log, said: said, done: make(chan struct{})}
	p.hello, p.helloIn = io.Pipe()
	p.cmd = &exec.Cmd{
		// The descriptor that was checked is run, whatever the path leads to by now. The kernel
		// opens it before it closes those that the driver must not have.
		Path: "/proc/self/fd/" + strconv.Itoa(int(f.Fd())),
		Args: []string{f.path},
		Dir:  "/",
		Env: append([]string{
			"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent", "TMPDIR=" + dir,
			"GOMEMLIMIT=" + strconv.FormatInt(limits.Memory*3/4, 10), // before it runs against the limit
		}, env...),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if f.script { // its interpreter opens the descriptor once more
		p.cmd.Path, p.cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{f.File}
	}
	return p
}

// Start implements runner.Runner.
func (p *process) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		close(p.done)
		return err
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		close(p.done)
		return err
	}
	var write [2]*os.File
	for i := range p.out {
		if p.out[i], write[i], err = os.Pipe(); err != nil {
			break
		}
	}
	defer func() {
		for _, f := range []*os.File{in, write[0], write[1]} {
			_ = f.Close() // the child has its own, or nobody has
		}
	}()
	if err == nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr, p.stdin = in, write[0], write[1], stdin
		started := make(chan error)
		go p.live(started)
		err = <-started
	}
	if err != nil {
		for _, f := range []*os.File{stdin, p.out[0], p.out[1]} {
			_ = f.Close() // nothing was sent
		}
		_ = p.helloIn.Close() // it never fails
		close(p.done)
		return err
	}
	p.readers.Go(func() { p.said.read(p.out[0], p.greet) })
	p.readers.Go(func() { p.said.read(p.out[1], nil) })
	return nil
}

// live starts the process and waits for it, on a thread of its own: what is set for a thread is
// inherited by what it starts, and the kernel kills a child whose parent's thread ends. The
// thread ends with the goroutine, because it is never unlocked.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, niceness); err != nil {
			p.log.Debug("the driver's priority is the gateway's", "error", err)
		}
		err = p.cmd.Start()
	}
	if err != nil {
		started <- fmt.Errorf("start %s: %w", p.path, err)
		return
	}
	p.pid.Store(int64(p.cmd.Process.Pid))
	if err := limit(p.cmd.Process.Pid, p.limits, p.log); err != nil {
		p.kill()
		_ = p.cmd.Wait() // it was killed
		started <- fmt.Errorf("limit %s: %w", p.path, err)
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
	p.cleanUp()
	close(p.done)
}

// limit bounds a process that was started. It has not yet run for a millisecond.
func limit(pid int, limits Limits, log *slog.Logger) error {
	memory := uint64(max(limits.Memory, minMemory))
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_DATA, memory},
		{unix.RLIMIT_NOFILE, maxFiles},
		{unix.RLIMIT_NPROC, uint64(tasks(os.Geteuid()) + maxProcesses)},
		{unix.RLIMIT_FSIZE, maxFileSize},
		{unix.RLIMIT_CORE, 0}, // a core dump holds secrets
	} {
		limit := unix.Rlimit{Cur: l.most, Max: l.most}
		if err := unix.Prlimit(pid, l.resource, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	// The driver goes first where the machine's memory is used up.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("500"), 0o600); err != nil {
		log.Debug("the driver is not ended before the gateway when memory is short", "error", err)
	}
	return nil
}

// tasks counts the processes and threads of a user.
func tasks(uid int) (n int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat("/proc/"+e.Name()+"/task", &st); err == nil && int(st.Uid) == uid {
			n += int(st.Nlink) - 2 // a directory for each thread
		}
	}
	return n
}

// greet takes the first line that the driver writes: go-plugin's handshake.
func (p *process) greet(line string) {
	if parts := strings.Split(line, "|"); len(parts) > 1 {
		p.version.Store(&parts[1])
	}
	p.readers.Go(func() { _, _ = io.WriteString(p.helloIn, line+"\n") }) // go-plugin may not read it any more
}

// kill ends the process group.
func (p *process) kill() {
	if pid := int(p.pid.Load()); pid != 0 {
		p.killOnce.Do(func() { _ = unix.Kill(-pid, unix.SIGKILL) }) // it may have ended
	}
}

// cleanUp ends what the process has started and left behind, and takes note of what it said
// last.
func (p *process) cleanUp() {
	_ = unix.Kill(-int(p.pid.Load()), unix.SIGKILL) // what is left of the group
	for range 50 {
		if !killMarked(p.dir) {
			break
		}
		time.Sleep(10 * time.Millisecond) // until the kernel has ended them
	}
	_ = p.stdin.Close()
	_ = p.helloIn.Close() // it never fails
	end := time.AfterFunc(lastWords, func() { _ = p.out[0].SetReadDeadline(time.Now()); _ = p.out[1].SetReadDeadline(time.Now()) })
	p.readers.Wait() // nobody writes any more, but for what got away
	end.Stop()
	_, _ = p.out[0].Close(), p.out[1].Close()
}

// lastWords is how long it is read what a process wrote that has ended.
const lastWords = time.Second

// killMarked kills the processes whose environment names dir, which only what a driver has
// started has. It reports whether there were any.
func killMarked(dir string) (found bool) {
	mark := plugin.EnvUnixSocketDir + "=" + dir
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil { // another user's, or gone
			continue
		}
		for v := range strings.SplitSeq(string(env), "\x00") {
			if v == mark {
				found = true
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
			}
		}
	}
	return found
}

// Wait implements runner.AttachedRunner.
func (p *process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error {
	p.kill()
	<-p.done
	return nil
}

// why says how the process ended. It is called after done.
func (p *process) why() error {
	text := "it ended by itself"
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok {
		text = "it ended: " + exit.String()
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() && st.Signal() == syscall.SIGKILL {
			text = "it was killed"
		}
	} else if p.err != nil {
		text = p.err.Error()
	}
	if said := p.said.tail(); said != "" {
		text += "; it said: " + said
	}
	return errors.New(text)
}

// Diagnose implements runner.Runner: the first line was no handshake.
func (p *process) Diagnose(context.Context) string {
	return "what it wrote first is no handshake of go-plugin: is it a driver for edge-gateway?"
}

// Stdout implements runner.Runner: the handshake alone.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr implements runner.Runner. It is read elsewhere.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.path }

// ID implements runner.AttachedRunner.
func (p *process) ID() string { return strconv.FormatInt(p.pid.Load(), 10) }

// PluginToHost implements runner.AddrTranslator: the socket is in the driver's directory, so
// that no driver has the gateway talk to something else.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.dir {
		return "", "", fmt.Errorf("it listens at %s %s, expected a Unix socket in %s (%s)", network, address, p.dir, plugin.EnvUnixSocketDir)
	}
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// newer says that the driver speaks another version of the contract, if that is why it could
// not be started.
func (p *process) newer() error {
	version := p.version.Load()
	if version == nil {
		return nil
	}
	n, err := strconv.Atoi(*version)
	if err != nil || n == driverpb.Version {
		return nil
	}
	return fmt.Errorf("%s speaks version %d of the contract for drivers, this gateway speaks version %d; update the gateway, or install a driver that was made for it",
		p.path, n, driverpb.Version)
}
