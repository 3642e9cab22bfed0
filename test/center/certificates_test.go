package center_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// said runs a command and returns what it says and its exit code.
func said(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Build(t, args[0]), args[1:]...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestClientCertificates: a gateway whose client certificate has expired, or is of an
// authority that nobody knows, says so wherever a person looks, and goes on by itself once
// the file has been renewed: with the config center and with the broker, both real. The
// other authority is tried with EDGE_CAMPAIGN set.
func TestClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	for _, name := range []string{"server", "ann", "gw"} {
		ca.sign(name, ca)
	}
	etcd, peerAddr, dir := freePort(t), freePort(t), t.TempDir()
	var member *exec.Cmd
	startEtcd := func() {
		member, _ = child(t, "member", "NAME=m0", "DIR="+dir, "CLIENT=https://"+etcd, "PEER=http://"+peerAddr, "CLUSTER=m0=http://"+peerAddr,
			"CERT="+ca.path("server.crt"), "KEY="+ca.path("server.key"), "CA="+ca.path("ca.crt"), "CLIENT_CERTS=yes")
	}
	startEtcd()
	broker := peer.StartMosquitto(t, "cafile "+ca.path("ca.crt"), "certfile "+ca.path("server.crt"), "keyfile "+ca.path("server.key"), "require_certificate true")
	plc := peer.StartPLC(t, freePort(t))

	// use puts a certificate in the gateway's file's place, as those who renew them do.
	use := func(by *authority, lasts time.Duration) {
		t.Helper()
		by.lasts = lasts
		by.sign("gw", by)
		for _, end := range []string{".crt", ".key"} {
			text, err := os.ReadFile(by.path("gw" + end))
			if err == nil {
				err = os.WriteFile(ca.path("mine"+end+".new"), text, 0o600)
			}
			if err == nil {
				err = os.Rename(ca.path("mine"+end+".new"), ca.path("mine"+end))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	operator := []string{"edge-cfg", "--endpoints", etcd, "--cacert", ca.path("ca.crt"), "--cert", ca.path("ann.crt"), "--key", ca.path("ann.key")}
	tables := t.TempDir()
	for name, text := range peer.Tables(plc.Addr, 3, "100ms") {
		if err := os.WriteFile(filepath.Join(tables, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := said(t, append(operator, "push", tables, "-y", "--no-wait")...); code != 0 {
		t.Fatalf("push: %d\n%s", code, out)
	}

	files := fmt.Sprintf("tls: {ca: %s, client_cert: %s, client_key: %s}", ca.path("ca.crt"), ca.path("mine.crt"), ca.path("mine.key"))
	g := peer.NewGateway(t, fmt.Sprintf(`connectors:
  mqtt:
    kind: mqtt5
    endpoint: mqtts://%s
    topic: /edge/{tenant}/{device}/data
    max_interval: 100ms
    backoff: {base: 100ms, max: 1s}
    %s
`, broker.Addr, files), nil)
	text, err := os.ReadFile(filepath.Join(g.Dir, "gateway.yml"))
	if err != nil {
		t.Fatal(err)
	}
	g.WriteFile(t, "gateway.yml", strings.Replace(string(text), "{source: dir, dir: ./config}", fmt.Sprintf("{source: etcd, etcd: {endpoints: [%q], %s}}", "https://"+etcd, files), 1))

	mine := []string{"edge-cfg", "--endpoints", etcd, "--cacert", ca.path("ca.crt"), "--cert", ca.path("mine.crt"), "--key", ca.path("mine.key"), "status"}
	ask := func(args ...string) (string, int) {
		return said(t, append([]string{"edge-ctl", "--socket", g.Socket()}, args...)...)
	}
	// tells waits until everything that a person asks names the cause.
	tells := func(ofEtcd, ofBroker string) {
		t.Helper()
		for _, q := range []struct {
			args []string
			want []string
			code int
		}{
			{[]string{"status"}, []string{"etcd", "config.etcd.tls.client_cert", ofEtcd, "connector mqtt", "tls.client_cert", ofBroker}, 0},
			{[]string{"why", "mqtt"}, []string{"tls.client_cert", ofBroker}, 0},
			{[]string{"connector", "mqtt", "test"}, []string{"failed", "tls.client_cert", ofBroker}, 1},
		} {
			var out string
			var code int
			for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) { // real servers come and go
				if out, code = ask(q.args...); code == q.code && len(lacking(out, q.want)) == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%v: exit code %d, it lacks %q:\n%s", q.args, code, lacking(out, q.want), out)
				}
			}
		}
		if log := g.Output(); len(lacking(log, []string{"config.etcd.tls.client_cert", ofEtcd, ofBroker})) > 0 {
			t.Errorf("the log lacks a cause:\n%s", log)
		}
		if out, code := said(t, mine...); code != 2 || len(lacking(out, []string{"--cert", ofEtcd})) > 0 {
			t.Errorf("edge-cfg: exit code %d\n%s", code, out)
		}
	}
	runs := func() {
		t.Helper()
		peer.WaitFor(t, 2*time.Minute, "the gateway to run and deliver", func() bool {
			out, code := ask("status")
			return code == 0 && strings.Contains(out, "config      applied") && strings.Contains(out, "connectors  1 up") && strings.Contains(out, "problems    none")
		})
	}

	use(ca, -time.Minute)
	g.Start(t)
	peer.WaitFor(t, time.Minute, "the admin socket", func() bool { _, code := ask("status"); return code == 0 })
	tells("has expired", "expired on")
	use(ca, time.Hour)
	runs()

	if campaign(0, 1) == 0 {
		return // the rest waits for etcd to be missed, twice
	}

	// What runs goes on with what it has in memory, and reads the file when it connects again.
	use(stranger, time.Hour)
	kill(member)
	broker.Stop(t)
	peer.WaitFor(t, time.Minute, "the gateway to miss etcd", func() bool { out, _ := ask("status"); return strings.Contains(out, "not connected") })
	startEtcd()
	broker.Start(t)
	tells("does not know the authority", "does not know the authority")
	if out, _ := ask("drivers"); !strings.Contains(out, "running") {
		t.Errorf("the drivers don't go on:\n%s", out)
	}
	use(ca, time.Hour)
	runs()
	if _, code := g.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// lacking returns which of the texts are not in s, line breaks aside.
func lacking(s string, texts []string) (out []string) {
	s = strings.Join(strings.Fields(s), " ")
	for _, text := range texts {
		if !strings.Contains(s, text) {
			out = append(out, text)
		}
	}
	return out
}
