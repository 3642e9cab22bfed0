package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// edgeGW runs edge-gw with the plant's gateway.yml; it must exit with code.
func (p *plant) edgeGW(t *testing.T, code int, args ...string) string {
	t.Helper()
	bin := peer.Build(t, "edge-gw") // before the time counts
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append(args, "--config", filepath.Join(p.Dir, "gateway.yml"))...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("edge-gw %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

// TestBackupOfRunningGateway backs a gateway up while it polls and its broker is
// away, loses its data, and restores it: what the broker had not is delivered, under
// a new epoch, and tables and history are there.
func TestBackupOfRunningGateway(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "backup", topic)
	gw := newPlant(t, broker.URL(), plc.Addr)
	gw.cfg(t, 0, "pull", gw.tables)
	gw.edit(t, "variables.yml", "scale: value / 10", "scale: value + 100000")
	gw.cfg(t, 0, "push", gw.tables, "-y", "-m", "before the backup", "--wait")
	peer.WaitFor(t, 10*time.Second, "frames", func() bool { return sub.Count() > 50 })
	broker.Stop(t)
	delivered := sub.LastSeq()
	time.Sleep(time.Second) // frames that nobody has

	log, history := gw.log(t), gw.history(t)
	if log[0].Author == "" || log[0].Time == "" || len(history) < 2 {
		t.Errorf("who and when: %+v; applies: %v", log, history)
	}
	file := filepath.Join(t.TempDir(), "gw.tar.zst")
	if said := gw.edgeGW(t, 0, "backup", file); !strings.Contains(said, "running") || !strings.Contains(said, "etcd") {
		t.Errorf("backup said:\n%s", said)
	}
	gw.edgeGW(t, 1, "backup", file) // it is there
	if said := gw.edgeGW(t, 1, "restore", file); !strings.Contains(said, "is not empty") {
		t.Errorf("a restore over a running gateway:\n%s", said)
	}
	gw.Kill(t)
	data := filepath.Join(gw.Dir, "data")
	must(t, os.RemoveAll(data))

	gw.refusesToRestore(t, file)
	gw.edgeGW(t, 0, "restore", file)
	broker.Start(t)
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 20*time.Second, "new frames", func() bool { return sub.LastSeq() > delivered+100 })

	if after := gw.log(t); len(after) != 2 || after[0].Message != "before the backup" || after[0].Author != log[0].Author || after[0].Time != log[0].Time {
		t.Errorf("the log of the tables: %+v, and before the backup %+v", after, log)
	}
	if after := gw.history(t); len(after) <= len(history) || !slices.Equal(after[len(after)-len(history):], history) {
		t.Errorf("the applies: %v, and before the backup %v", after, history)
	}
	gw.cfg(t, 0, "rollback", "variables", "--to", "previous", "-y", "--wait")
	if after := gw.log(t); len(after) != 3 || after[0].Rev < 1_000_000 || after[0].SHA256 != log[1].SHA256 {
		t.Errorf("after a rollback to before the backup: %+v", after)
	}
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	checkNewEpoch(t, sub.Messages(), delivered)
}

// history returns when each apply that the gateway remembers began, the newest first.
func (p *plant) history(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, a := range decode[[]struct{ Began string }](t, "edge-ctl", "--socket", p.Socket(), "config", "history", "-o", "json") {
		out = append(out, a.Began)
	}
	return out
}

// checkNewEpoch checks that the second epoch begins with what the first one did not
// deliver, at the latest, and has no hole.
func checkNewEpoch(t *testing.T, messages []peer.Message, delivered uint64) {
	t.Helper()
	first := messages[0].Properties["epoch"]
	next := uint64(0)
	for _, m := range messages {
		if m.Properties["epoch"] == first {
			continue
		}
		for _, f := range m.Frames {
			switch {
			case next == 0 && (f.Seq > delivered+1 || m.Properties["prev_seq"] != "0"):
				t.Errorf("the new epoch begins with %d (prev_seq %s); %d was delivered last", f.Seq, m.Properties["prev_seq"], delivered)
			case next != 0 && f.Seq != next:
				t.Fatalf("frame %d after %d", f.Seq, next-1)
			}
			next = f.Seq + 1
		}
	}
	if next == 0 {
		t.Error("there is one epoch alone")
	}
}

// refusesToRestore tries what must leave data_dir as it is.
func (p *plant) refusesToRestore(t *testing.T, file string) {
	t.Helper()
	good, err := os.ReadFile(file)
	must(t, err)
	bad := filepath.Join(t.TempDir(), "bad.tar.zst")
	for what, content := range map[string][]byte{
		"cut off": good[:len(good)-20], "changed": bytes.Replace(good, good[len(good)/2:len(good)/2+8], []byte("XXXXXXXX"), 1), "empty": nil,
	} {
		must(t, os.WriteFile(bad, content, 0o600))
		for _, args := range [][]string{{"restore", bad}, {"restore", "--check", bad}} {
			if said := p.edgeGW(t, 1, args...); !strings.Contains(said, "not a whole backup") {
				t.Errorf("a backup that is %s:\n%s", what, said)
			}
		}
	}
	if said := p.edgeGW(t, 1, "restore", file, "--set", "gateway_id=other"); !strings.Contains(said, `gateway "gw-test"`) {
		t.Errorf("a backup of another gateway:\n%s", said)
	}
	data := filepath.Join(p.Dir, "data")
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused restore left %s", data)
	}
	// A restore that was killed is not mistaken for a gateway's data.
	must(t, os.Mkdir(data, 0o700))
	must(t, os.WriteFile(filepath.Join(data, "RESTORING"), []byte(file+"\n"), 0o600))
	if said := p.edgeGW(t, 1, "run"); !strings.Contains(said, "is not complete") {
		t.Errorf("run after a restore that was cut off:\n%s", said)
	}
	must(t, os.RemoveAll(data))
}

// TestBackupOfStoppedGateway moves a stopped gateway with its secrets to another
// directory.
func TestBackupOfStoppedGateway(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	gw := newPlant(t, broker.URL(), plc.Addr)
	gw.WriteFile(t, "secrets/mqtt_password", "hunter2\n")
	gw.WriteFile(t, "secrets/tables/plc_psk", "for tables\n")
	gw.WriteFile(t, "config/variables/press.yml", "[]\n")
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	dir := t.TempDir()
	plain, secret := filepath.Join(dir, "plain.tar.zst"), filepath.Join(dir, "secret.tar.zst")
	if said := gw.edgeGW(t, 0, "backup", plain); !strings.Contains(said, "not in it: secrets_dir, policy.secrets_dir") {
		t.Errorf("backup said:\n%s", said)
	}
	if said := gw.edgeGW(t, 0, "backup", secret, "--secrets"); !strings.Contains(said, "secrets/mqtt_password ") ||
		!strings.Contains(said, "policy/plc_psk ") || !strings.Contains(said, "Secrets are in it") {
		t.Errorf("backup --secrets said:\n%s", said)
	}
	if said := gw.edgeGW(t, 0, "migrate"); !strings.Contains(said, "tables") || !strings.Contains(said, "nothing to migrate") {
		t.Errorf("migrate said:\n%s", said)
	}
	for file, want := range map[string]bool{plain: false, secret: true} {
		out, err := exec.Command("sh", "-c", `zstd -dc "$0" | tar xO`, file).Output()
		must(t, err)
		for _, text := range []string{"hunter2", "for tables"} {
			if got := bytes.Contains(out, []byte(text)); got != want {
				t.Errorf("%s holds the secret %s: %v", file, text, got)
			}
		}
	}
	for _, name := range []string{"data", "secrets", "config"} {
		must(t, os.RemoveAll(filepath.Join(gw.Dir, name)))
	}
	gw.edgeGW(t, 0, "restore", secret)
	for _, name := range []string{"secrets/mqtt_password", "secrets/tables/plc_psk", "config/drivers.yml", "config/variables/press.yml"} {
		if _, err := os.Stat(filepath.Join(gw.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	gw.Start(t)
	gw.WaitReady(t)
	if log := gw.log(t); len(log) != 1 {
		t.Errorf("log: %+v", log)
	}
}
