package alerts

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// expressions are those of the dashboards and of the rules, by where they stand, with
// Grafana's variables filled in.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, file := range []string{"alerts.yml", "records.yml"} {
		for _, r := range rulesOf(t, file) {
			out[file+": "+r.Alert+r.Record] = []string{r.Expr}
		}
	}
	boards, err := filepath.Glob(filepath.Join(examples, "grafana", "dashboards", "*.json"))
	if err != nil || len(boards) < 6 {
		t.Fatalf("dashboards: %v, %v", boards, err)
	}
	fill := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*", "$driver", ".*", "$connector", ".*", "$endpoint", ".*")
	for _, board := range boards {
		text, err := os.ReadFile(board)
		if err != nil {
			t.Fatal(err)
		}
		var b struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", board, err)
		}
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				expr := fill.Replace(target.Expr)
				if strings.Contains(expr, "$") {
					t.Errorf("%s, %s: a variable that nobody fills in: %s", filepath.Base(board), p.Title, expr)
				}
				where := filepath.Base(board) + ": " + p.Title
				out[where] = append(out[where], expr)
			}
		}
	}
	return out
}

// selector finds a metric in an expression, with its labels if it has any. What stands
// before a parenthesis is a function.
var selector = regexp.MustCompile(`\b((?:modbus|s7|opcua|driver|endpoint|framebus|mqtt|connector|cfg|edge_gw|certificate|admin|process|go|log_lines)_[a-z0-9_]+|edge_gw:[a-z0-9_:]+)(\{[^}]*\})?`)

var (
	labelNames = regexp.MustCompile(`([a-z_]+) *(?:=~|!=|!~|=)`)
	groupings  = regexp.MustCompile(`\b(?:by|on|without|ignoring) *\([^)]*\)`)
)

// checkExpressions has a real Prometheus evaluate each expression, and looks for every
// metric and label that it names among those that gateways show. What a healthy gateway
// doesn't show from the start, nobody can be alarmed by.
func checkExpressions(t *testing.T, prom *prometheus, gateways ...*peer.Gateway) {
	t.Helper()
	recorded := map[string]bool{}
	for _, r := range rulesOf(t, "records.yml") {
		recorded[r.Record] = true
	}
	asked := expressions(t)
	for where, list := range asked {
		for _, expr := range list {
			if err := prom.evaluates(expr); err != "" {
				t.Errorf("%s: %s\n%s", where, expr, err)
			}
		}
	}
	var faults []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(250 * time.Millisecond) { // what other processes show
		shown := shownBy(t, gateways)
		faults = nil
		for where, list := range asked {
			for _, expr := range list {
				faults = append(faults, unknownIn(where, expr, shown, recorded)...)
			}
		}
		if len(faults) == 0 || time.Now().After(deadline) {
			break
		}
	}
	slices.Sort(faults)
	for _, f := range faults {
		t.Error(f)
	}
}

// unknownIn names the metrics and labels of an expression that nobody shows.
func unknownIn(where, expr string, shown map[string][]string, recorded map[string]bool) (faults []string) {
	for _, m := range selector.FindAllStringSubmatch(groupings.ReplaceAllString(expr, ""), -1) {
		name := m[1]
		if strings.HasPrefix(name, "edge_gw:") {
			if !recorded[name] {
				faults = append(faults, where+" names "+name+", which no rule of records.yml makes")
			}
			continue
		}
		labels, ok := shown[name]
		switch {
		case strings.Contains(name, "certificate_expiry"): // only where there are certificates
		case name == "s7_refused_total": // there is one for each code that a PLC has said; the driver's own test has it
		case !ok:
			faults = append(faults, where+" names "+name+", which /metrics doesn't show")
		default:
			for _, l := range labelNames.FindAllStringSubmatch(m[2], -1) {
				if l[1] != "instance" && l[1] != "job" && !slices.Contains(labels, l[1]) {
					faults = append(faults, where+": "+name+" has no label "+l[1])
				}
			}
		}
	}
	return faults
}

// shownBy returns the names of what the gateways show, with their labels.
func shownBy(t *testing.T, gateways []*peer.Gateway) map[string][]string {
	t.Helper()
	shown := map[string][]string{}
	line := regexp.MustCompile(`(?m)^([a-z][a-zA-Z0-9_]*)(\{[^}]*\})? `)
	for _, g := range gateways {
		resp, err := http.Get("http://" + g.Metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			shown[m[1]] = []string{}
			for _, l := range labelNames.FindAllStringSubmatch(m[2], -1) {
				shown[m[1]] = append(shown[m[1]], l[1])
			}
		}
	}
	return shown
}

// evaluates asks for an expression and returns what is wrong with it, "" for nothing.
func (p *prometheus) evaluates(expr string) string {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var answer struct{ Status, Error string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err.Error()
	}
	return answer.Error
}

// newOther makes a gateway with a driver of each protocol that the others don't have, to
// devices at which nobody answers.
func newOther(t *testing.T) *peer.Gateway {
	t.Helper()
	away := hangsUp(t)
	host, port, _ := strings.Cut(away, ":")
	return peer.NewGateway(t, "", map[string]string{
		"endpoints.yml": "s: {scheme: tcp, host: " + host + ", port: " + port + "}\no: {scheme: opc.tcp, host: " + host + ", port: " + port + ", opts: {security_policy: None}}\n",
		"drivers.yml":   "s: {kind: static, endpoint_id: s, proto: s7, cfg: {polling: 1s}}\no: {kind: static, endpoint_id: o, proto: opcua, cfg: {}}\n",
		"variables.yml": "- {tag: s.a, driver_id: s, access: R, address: {s7: DB1.DBW0}, datatype: int16}\n" +
			"- {tag: o.a, driver_id: o, access: R, address: {node: 'ns=2;s=a'}, datatype: float}\n",
	})
}
