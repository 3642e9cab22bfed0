package e2e

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

// TestSignedPushes: a gateway with policy.signers, from its first start: whoever can write
// to its store and has no key, or another, is refused, and the status says why; a signed
// push runs, a signed rollback too, and keys are changed one after the other.
func TestSignedPushes(t *testing.T) {
	t.Parallel()
	p := &plant{Gateway: peer.NewGateway(t, "", nil), tables: t.TempDir()}
	key := func(name string) (file, public string) {
		file = filepath.Join(p.Dir, name)
		out, _ := p.cfg(t, 0, "key", "new", file)
		return file, strings.TrimSpace(out)
	}
	first, firstPublic := key("first.key")
	second, secondPublic := key("second.key")
	plain, err := os.ReadFile(filepath.Join(p.Dir, "gateway.yml"))
	must(t, err)
	start := func(signers ...string) {
		t.Helper()
		text := strings.Replace(string(plain), "source: dir", "verify_timeout: 1s, source: etcd", 1)
		p.WriteFile(t, "gateway.yml", fmt.Sprintf("%spolicy: {signers: [%s]}\n", text, `"`+strings.Join(signers, `", "`)+`"`))
		p.Start(t)
		peer.WaitFor(t, time.Minute, "the store", func() bool {
			out, err := exec.Command(peer.Build(t, "edge-cfg"), "--endpoints", "unix:"+filepath.Join(p.Dir, "data", "etcd.sock"), "status").Output()
			return err == nil && strings.Contains(string(out), "gw-test")
		})
	}
	table := func(name, text string) { must(t, os.WriteFile(filepath.Join(p.tables, name), []byte(text), 0o600)) }
	table("drivers.yml", "{}\n")
	table("variables.yml", "[]\n")
	// why is empty for what runs. What is refused is told to the pusher and in the status.
	expect := func(why string, args ...string) {
		t.Helper()
		code, state := 0, "applied"
		if why != "" {
			code, state = 4, "r" // rejected, or rolled_back where something ran before
		}
		_, said := p.cfg(t, code, append(args, "-y", "-m", "signed or not")...)
		if !strings.Contains(said, why) {
			t.Errorf("%q does not say %q:\n%s", args, why, said)
		}
		if out, _ := p.cfg(t, 0, "status"); !strings.Contains(out, " "+state) || !strings.Contains(out, why) {
			t.Errorf("the status lacks %q, %q:\n%s", state, why, out)
		}
	}
	push := func(port int, why string, sign ...string) {
		t.Helper()
		table("endpoints.yml", fmt.Sprintf("plc: {scheme: tcp, host: 127.0.0.1, port: %d}\n", port))
		expect(why, append([]string{"push", p.tables, "--force"}, sign...)...) // whatever was rolled back meanwhile
	}
	const unsigned, unknown = "it is not signed", "not one of policy.signers"
	start(firstPublic)
	push(1, unsigned)
	push(2, "", "--sign", first)
	rollback := []string{"rollback", "all", "--to", fmt.Sprintf("rev=%d", p.log(t)[0].Rev)}
	push(3, unsigned)
	push(4, unknown, "--sign", second)
	push(5, "", "--sign", first)
	expect(unsigned, rollback...)
	expect("", append(rollback, "--sign", first, "--known-bad")...) // what was refused unsigned counts as known

	// The keys change: both, then the new one alone.
	for i, signers := range [][]string{{firstPublic, secondPublic}, {secondPublic}} {
		if _, code := p.Stop(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		start(signers...)
		push(6+i, "", "--sign", second)
	}
	push(8, unknown, "--sign", first)
}
