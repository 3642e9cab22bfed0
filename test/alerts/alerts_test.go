// Package alerts tests what is shipped for Prometheus: that each alert fires for its
// fault, and for nothing else, and that what the rules and the dashboards ask for exists.
package alerts

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

const examples = "../../examples/compose"

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

// rule is one of alerts.yml.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	return rulesOf(t, "alerts.yml")
}

// rulesOf returns the rules of one of the files that are shipped for Prometheus.
func rulesOf(t *testing.T, name string) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, "prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups[0].Rules
}

// TestRules runs the rules' own test, and holds each to a severity, a way out, and a part
// of the page of troubleshooting that names it. Each alert fires in that test.
func TestRules(t *testing.T) {
	cmd := exec.Command("promtool", "test", "rules", "alerts_test.yml")
	cmd.Dir = filepath.Join(examples, "prometheus")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v (scripts/setup installs it)\n%s", err, out)
	}
	book, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{} // of the page, by their anchors
	for part := range strings.SplitSeq(string(book), "\n## ") {
		title, text, _ := strings.Cut(part, "\n")
		parts[strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(title, ",", "")), " ", "-")] = text
	}
	own, err := os.ReadFile(filepath.Join(examples, "prometheus", "alerts_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		page, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(page, "/docs/troubleshooting.md") || !strings.Contains(parts[anchor], "`"+r.Alert+"`") {
			t.Errorf("%s: runbook_url %q: there is no such part of docs/troubleshooting.md that names it", r.Alert, r.Annotations["runbook_url"])
		}
		if !strings.Contains(string(own), `alertname="`+r.Alert+`"`) {
			t.Errorf("%s fires in no test of alerts_test.yml", r.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
			t.Errorf("%s has no summary, or doesn't say what to do", r.Alert)
		}
	}
}

// prometheus is a real one, with the shipped rules at a faster pace.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, targets []string) *prometheus {
	t.Helper()
	dir, addr := t.TempDir(), peer.FreeAddr(t)
	text, err := os.ReadFile(filepath.Join(examples, "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	faster := strings.NewReplacer("[10m]", "[10s]", "> 600", "> 3", "> 100000", "> 300").Replace(string(text))
	faster = regexp.MustCompile(`(?m)^ +for: .*\n`).ReplaceAllString(faster, "")
	quoted, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`global: {scrape_interval: 250ms, evaluation_interval: 250ms}
rule_files: [records.yml, alerts.yml]
scrape_configs:
  - {job_name: edge-gw, static_configs: [{targets: %s}]}
`, quoted)
	records, err := os.ReadFile(filepath.Join(examples, "prometheus", "records.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"alerts.yml": faster, "records.yml": string(records), "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("prometheus: %v (scripts/setup installs it)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it holds nothing that matters
		_ = cmd.Wait()
		_ = log.Close()
	})
	return &prometheus{url: "http://" + addr}
}

// get asks the HTTP API, and returns false while there is no answer.
func (p *prometheus) get(path string, data any) bool {
	resp, err := http.Get(p.url + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var answer struct{ Data json.RawMessage }
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(&answer) == nil && json.Unmarshal(answer.Data, data) == nil
}

// scraped reports whether there is a sample of a metric.
func (p *prometheus) scraped(metric string) bool {
	var data struct{ Result []any }
	return p.get("/api/v1/query?query="+metric, &data) && len(data.Result) > 0
}

// firing adds what fires now to seen, as "ALERT INSTANCE".
func (p *prometheus) firing(seen map[string]bool) {
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	if !p.get("/api/v1/alerts", &data) {
		return
	}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			seen[a.Labels["alertname"]+" "+a.Labels["instance"]] = true
		}
	}
}

// hangsUp returns an address at which nobody answers. Nobody else can take it meanwhile,
// as a free one could be.
func hangsUp(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // that is what it is for
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		wg.Wait()
	})
	return l.Addr().String()
}

// otherRelease returns an address with the metrics of g as another release would have them.
func otherRelease(t *testing.T, g *peer.Gateway) string {
	t.Helper()
	version := regexp.MustCompile(`(edge_gw_info\{[^}]*version=")[^"]*`)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get("http://" + g.Metrics + r.URL.Path)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || !version.Match(text) {
			t.Errorf("no version in the metrics: %v", err)
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		_, _ = w.Write(version.ReplaceAll(text, []byte("${1}v0.0.1"))) // Prometheus asks again
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestAlertsFire breaks one thing after the other, for real, and waits for each alert
// at the gateway that has the fault. A healthy gateway beside them has none.
func TestAlertsFire(t *testing.T) {
	peer.Build(t, "edge-ctl") // before the clock runs for the others
	well, sick, full, drops, away := newWell(t), newSick(t), newFull(t, "spill"), newFull(t, "drop_oldest"), newAway(t)
	other := newOther(t)
	for _, g := range []*peer.Gateway{well, sick.Gateway, full, drops, away, other} {
		g.Start(t)
	}
	nobody := hangsUp(t)
	well.WaitReady(t)
	prom := startPrometheus(t, []string{well.Metrics, sick.Metrics, full.Metrics, drops.Metrics, away.Metrics, nobody, otherRelease(t, well)})
	peer.WaitFor(t, 20*time.Second, "what counts to be scraped", func() bool {
		return prom.scraped("mqtt_takeover_total") && prom.scraped("cfg_rollback_total") && prom.scraped(`mqtt_inflight>0`)
	})
	sick.breakMore(t)
	full.WriteFile(t, "config/drivers.yml", "line: {kind: static}\n")
	control(t, full, 1, "config", "reload")
	drops.WriteFile(t, "config/variables.yml", variables("line", 400))
	control(t, drops, 0, "config", "reload")
	control(t, drops, 0, "config", "rollback", "-y")

	want := map[string]string{"GatewayAway": nobody, "VersionsDiffer": ""} // the latter is of all
	for g, names := range map[*peer.Gateway]string{
		sick.Gateway: "GatewayNotReady PlcFault TagsBad PlcSlow PlcLossy DriverPaused BrokerAway ConnectorFault ConnectorPaused BacklogOld BacklogGrows " +
			"MessagesRefused SessionLost ClientIdTaken DiskNearlyFull CertificateExpires CertificateEnds",
		full: "PollingPaused LogNearlyFull ConfigRefused", drops: "FramesDropped ConfigRolledBack", away: "CenterAway",
	} {
		for _, name := range strings.Fields(names) {
			want[name] = g.Metrics
		}
	}
	for _, r := range rules(t) {
		// They take an OPC UA server and a PLC of Siemens: the rules' own test has them.
		if _, ok := want[r.Alert]; !ok && r.Alert != "OpcuaValuesLost" && !strings.HasPrefix(r.Alert, "S7") {
			t.Errorf("%s: no fault here", r.Alert)
		}
	}
	seen := map[string]bool{}
	var missing []string
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(250 * time.Millisecond) { // what another process sees
		prom.firing(seen)
		missing = nil
		for name, instance := range want {
			if !seen[name+" "+instance] {
				missing = append(missing, name)
			}
		}
		if len(missing) == 0 {
			break
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		t.Errorf("did not fire: %s", strings.Join(missing, ", "))
	}
	for what := range seen {
		if what == "GatewayAway "+well.Metrics { // a busy machine answered a scrape too late
			peer.WaitFor(t, 30*time.Second, "the gateway in health to be scraped again", func() bool {
				now := map[string]bool{}
				prom.firing(now)
				return len(now) > 0 && !now[what] // the others fire on
			})
		} else if strings.HasSuffix(what, " "+well.Metrics) {
			t.Errorf("%s fires for a gateway in health", what)
		}
	}
	checkExpressions(t, prom, well, other)
}

// control runs edge-ctl on g's socket.
func control(t *testing.T, g *peer.Gateway, code int, args ...string) {
	t.Helper()
	cmd := exec.Command(peer.Build(t, "edge-ctl"), append([]string{"--socket", g.Socket()}, args...)...)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != code {
		t.Fatalf("edge-ctl %s: exit code %d, want %d\n%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), code, out)
	}
}
