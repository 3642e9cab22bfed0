package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/logtest"
)

// Telegraf is Telegraf as a child process, to be compared with.
type Telegraf struct {
	cmd *exec.Cmd
	out logtest.Buffer
}

// TelegrafInto is the part of a configuration that delivers what is read every interval
// as the gateway does: in batches, at QoS 2, to topic telegraf/data.
func TelegrafInto(broker *Mosquitto, interval time.Duration) string {
	return fmt.Sprintf(`[agent]
  interval = "%s"
  flush_interval = "1s"
  metric_batch_size = 50
  skip_processors_after_aggregators = true
  metric_buffer_limit = 100000
  omit_hostname = true

[[outputs.mqtt]]
  servers = ["tcp://%s"]
  protocol = "5"
  topic = "telegraf/data"
  qos = 2
  layout = "batch"
  data_format = "json"
`, interval, broker.Addr)
}

// StartTelegraf builds Telegraf from the module beside the tests and runs it with
// the given configuration until the test ends.
func StartTelegraf(t testing.TB, config string) *Telegraf {
	t.Helper()
	dir := t.TempDir()
	bin, file := filepath.Join(dir, "telegraf"), filepath.Join(dir, "telegraf.conf")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "../rivals/telegraf"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build telegraf: %v\n%s", err, out)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Telegraf{cmd: exec.Command(bin, file)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(t) })
	return p
}

// Stop ends the process; a second call does nothing.
func (p *Telegraf) Stop(t testing.TB) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	timer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.cmd.Wait() // how a peer ends is no matter
}

// Output is what the process wrote to stdout and stderr.
func (p *Telegraf) Output() string { return p.out.String() }

// Proc is what /proc tells of the process.
func (p *Telegraf) Proc() Proc { return Proc(p.cmd.Process.Pid) }
