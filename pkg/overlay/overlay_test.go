package overlay

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

const (
	endpoints = "plc: {scheme: tcp, host: 10.0.0.1, port: 502, opts: {timeout: 1s}}\n"
	drivers   = "press: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s, max_gap: 3}}\n"
	variables = "- {tag: flow.a, driver_id: press, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n" +
		"- {tag: speed, driver_id: press, access: R, address: {type: holding, addr: 2}, datatype: uint16}\n"
)

// read makes a document of files' texts, with the base where nothing else is said.
func read(t *testing.T, files map[string]string) (*config.Document, *config.Source) {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"endpoints.yml": endpoints, "drivers.yml": drivers, "variables.yml": variables}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snap, src, findings := config.ReadDir(dir)
	if err := findings.Err(); err != nil {
		t.Fatal(err)
	}
	return snap.Document(), src
}

func render(t *testing.T, f *Fleet, id string) *Rendered {
	t.Helper()
	r, err := f.Render(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// item returns an item of what a gateway runs.
func (r *Rendered) item(key string) string {
	table, id, _ := strings.Cut(key, "/")
	raw, _ := r.Doc.Get(config.Table(table), id)
	return string(raw)
}

func TestRender(t *testing.T) {
	doc, _ := read(t, map[string]string{
		"settings.yml": "bus: {wal_flush_ms: 20}\n",
		"groups.yml": `press:
  select: line=press
  drivers: {press: {cfg: {polling: 500ms, max_gap: null}}}
  variables:
    flow.a: {scale: value / 10}
    speed: null
    extra: {driver_id: press, access: R, address: {type: holding, addr: 9}, datatype: uint16}
big:
  select: size!=small
  endpoints: {plc: {opts: {timeout: 2s}}}
  settings: {bus: {wal_flush_ms: null}}
`,
		"gateways.yml": `lyon-01:
  labels: {line: press}
  endpoints: {plc: {host: 10.1.1.11, port: null, opts: {timeout: 3s}}, hall: {scheme: tcp, host: 10.1.1.12, port: 502}}
  variables: {extra: null}
lyon-02: {labels: {line: press, size: small}}
lyon-03: {labels: {line: saw, size: small}}
lyon-04: {suspended: true, labels: {size: small}}
`,
	})
	f, problems := New(doc)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	one := render(t, f, "lyon-01")
	for key, want := range map[string]string{
		"endpoints/plc":    `{"host":"10.1.1.11","opts":{"timeout":"3s"},"scheme":"tcp"}`,
		"endpoints/hall":   `{"host":"10.1.1.12","port":502,"scheme":"tcp"}`,
		"drivers/press":    `{"cfg":{"polling":"500ms","unit_id":1},"endpoint_id":"plc","kind":"static","proto":"modbus"}`,
		"variables/flow.a": `{"access":"R","address":{"addr":1,"type":"holding"},"datatype":"uint16","driver_id":"press","scale":"value / 10","tag":"flow.a"}`,
		"variables/speed":  "",
		"variables/extra":  "",
		"settings/bus":     "", // nothing is left of it
	} {
		if got := one.item(key); got != want {
			t.Errorf("lyon-01 %s: %s\nwant %s", key, got, want)
		}
	}
	if got := strings.Join(one.Variant.Groups, " "); got != "big press" || !one.Own || one.Suspended {
		t.Errorf("lyon-01: groups %s, own %v", got, one.Own)
	}
	two := render(t, f, "lyon-02")
	if two.item("variables/extra") == "" || two.item("settings/bus") == "" || two.item("endpoints/plc") != `{"host":"10.0.0.1","opts":{"timeout":"1s"},"port":502,"scheme":"tcp"}` {
		t.Errorf("lyon-02: %s", two.Doc.JSON())
	}
	three := render(t, f, "lyon-03")
	if three.Doc.SHA256() != doc.Base().SHA256() || three.Own {
		t.Errorf("lyon-03 is not the base: %s", three.Doc.JSON())
	}
	if four := render(t, f, "lyon-04"); !four.Suspended || four.Runs().Len() != 0 || four.Doc.SHA256() != three.Doc.SHA256() {
		t.Errorf("lyon-04 runs %s", four.Runs().JSON())
	}
	for _, r := range []*Rendered{one, two, three} {
		if len(r.Problems) > 0 {
			t.Errorf("%s: %v", r.Gateway, r.Problems)
		}
		if _, err := r.Doc.Snapshot(nil); err != nil {
			t.Errorf("%s: %v", r.Gateway, err)
		}
		if again, _ := config.ParseDocument(r.Doc.JSON()); again == nil || again.SHA256 != r.Doc.SHA256() {
			t.Errorf("%s: what is rendered is not in canonical form", r.Gateway)
		}
	}
	for key, want := range map[string]string{
		"endpoints/plc/host":         "gateways/lyon-01/endpoints.plc.host",
		"endpoints/plc/port":         "gateways/lyon-01/endpoints.plc.port", // removed there
		"endpoints/plc/opts.timeout": "gateways/lyon-01/endpoints.plc.opts.timeout",
		"endpoints/plc/scheme":       "endpoints/plc/scheme",
		"endpoints/plc":              "endpoints/plc",
		"endpoints/hall":             "gateways/lyon-01/endpoints.hall",
		"endpoints/hall/opts":        "gateways/lyon-01/endpoints.hall.opts",
		"drivers/press/cfg.polling":  "groups/press/drivers.press.cfg.polling",
		"drivers/press/cfg":          "drivers/press/cfg",
		"settings/bus/wal_flush_ms":  "groups/big/settings.bus.wal_flush_ms",
		"variables/speed/scale":      "groups/press/variables.speed.scale",
	} {
		steps := strings.SplitN(key, "/", 3)
		var path []string
		if len(steps) > 2 {
			path = strings.Split(steps[2], ".")
		}
		p := one.Origin(config.Table(steps[0]), steps[1], path)
		if got := config.Key(p.Table, p.ID, p.Path...); got != want {
			t.Errorf("origin of %s: %s, want %s", key, got, want)
		}
	}
	if _, err := f.Render("lyon-1"); err == nil || !strings.Contains(err.Error(), "did you mean lyon-0") {
		t.Errorf("unknown gateway: %v", err)
	}
	if n := len(f.Variants()); n != 3 {
		t.Errorf("%d variants", n)
	}
}

// TestProblems: what is wrong with layers, and where it is told.
func TestProblems(t *testing.T) {
	const a = "g1: {labels: {line: press}}\n"
	for name, c := range map[string]struct{ groups, gateways, want string }{
		"nobody":              {"x: {select: line=saw}", a, "groups/x/select: select: line=saw matches none of the 1 gateways"},
		"no gateways":         {"x: {select: line=saw}", "", "groups/x/select: select: line=saw matches none of the 0 gateways"},
		"bad selector":        {"x: {select: line in press}", a, "groups/x/select: select: \"line in press\" in the selector"},
		"one field twice":     {"x: {select: line, drivers: {press: {cfg: {polling: 2s}}}}\ny: {select: line, drivers: {press: {cfg: {polling: 3s}}}}", a, "groups/y/drivers.press.cfg.polling: cfg.polling: the group x says"},
		"field and ancestor":  {"x: {select: line, drivers: {press: {cfg: null}}}\ny: {select: line, drivers: {press: {cfg: {polling: 3s}}}}", a, "groups/y/drivers.press.cfg: cfg: the group x says"},
		"null and value":      {"x: {select: line, drivers: {press: {cfg: {max_gap: null}}}}\ny: {select: line, drivers: {press: {cfg: {max_gap: 1}}}}", a, "groups/y/drivers.press.cfg.max_gap"},
		"removed and changed": {"x: {select: line, variables: {speed: null}}\ny: {select: line, variables: {speed: {unit: m}}}", a, "groups/y/variables.speed: variable speed: the group x says"},
		"the same is fine":    {"x: {select: line, drivers: {press: {cfg: {polling: 2s}}}}\ny: {select: line, drivers: {press: {cfg: {polling: 2s}}}}", a, ""},
		"both remove":         {"x: {select: line, variables: {speed: null}}\ny: {select: line, variables: {speed: null}}", a, ""},
		"other gateways":      {"x: {select: line, drivers: {press: {cfg: {polling: 2s}}}}\ny: {select: '!line', drivers: {press: {cfg: {polling: 3s}}}}", a + "g2: {}\n", ""},
		"incomplete":          {"", "g1: {endpoints: {plc1: {host: 10.1.1.1}}}", "gateways/g1/endpoints.plc1: no layer below has the endpoint plc1, so it must be complete here: key scheme is missing"},
		"incomplete beside a group": {"x: {select: line, endpoints: {e: {scheme: tcp, host: a, port: 1}}}\ny: {select: line, endpoints: {e: {opts: {}}}}", a,
			"groups/y/endpoints.e: no layer below has the endpoint e"},
		"removes no item":      {"", "g1: {variables: {spede: null}}", "gateways/g1/variables.spede: no layer below has the variable spede"},
		"removes no field":     {"x: {select: line, drivers: {press: {cfg: {gap: null}}}}", a, "groups/x/drivers.press.cfg.gap: cfg.gap: no layer below sets it"},
		"bad value":            {"x: {select: line, drivers: {press: {cfg: {polling: soon}}}}", a, "groups/x/drivers.press.cfg.polling: cfg.polling: expected a duration"},
		"unknown field":        {"x: {select: line, drivers: {press: {cfg: {poling: 1s}}}}", a, "groups/x/drivers.press.cfg.poling: unknown key poling; did you mean polling?"},
		"removes what must be": {"x: {select: line, drivers: {press: {endpoint_id: null}}}", a, "groups/x/drivers.press.endpoint_id: key endpoint_id is missing"},
		"another's tag":        {"x: {select: line, variables: {speed: {tag: flow}}}", a, "groups/x/variables.speed.tag: tag: is flow, but the item's name is speed"},
		"reference":            {"x: {select: line, drivers: {press: {proto: '${file:x}'}}}", a, "proto"},
	} {
		doc, _ := read(t, map[string]string{"groups.yml": c.groups, "gateways.yml": c.gateways})
		f, problems := New(doc)
		for _, id := range f.Gateways() {
			problems = append(problems, render(t, f, id).Problems...)
		}
		var got []string
		for _, p := range problems {
			got = append(got, config.Key(p.Place.Table, p.Place.ID, p.Place.Path...)+": "+p.Message)
		}
		text := strings.Join(got, "\n")
		if (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q\nwant %q", name, text, c.want)
		}
	}
}

// TestNamesDontMatter: what a gateway runs is the same whatever its groups are called.
func TestNamesDontMatter(t *testing.T) {
	texts := []string{
		"select: line=press\n  drivers: {press: {cfg: {polling: 2s}}}\n",
		"select: site=lyon\n  drivers: {press: {cfg: {max_gap: null}}}\n",
		"select: line=press,site=lyon\n  endpoints: {plc: {opts: {timeout: 7s}}}\n",
	}
	var hashes []string
	for _, names := range [][]string{{"a", "b", "c"}, {"c", "a", "b"}, {"b", "c", "a"}, {"c", "b", "a"}} {
		var b strings.Builder
		for i, text := range texts {
			b.WriteString(names[i] + ":\n  " + text)
		}
		doc, _ := read(t, map[string]string{"groups.yml": b.String(), "gateways.yml": "g: {labels: {line: press, site: lyon}}\n"})
		f, problems := New(doc)
		r := render(t, f, "g")
		if len(problems)+len(r.Problems) > 0 {
			t.Fatal(problems, r.Problems)
		}
		hashes = append(hashes, r.Doc.SHA256())
	}
	if len(slices.Compact(hashes)) != 1 {
		t.Errorf("hashes: %v", hashes)
	}
}

// FuzzRender: whatever layers say, rendering ends with problems or with documents that a
// gateway can read.
func FuzzRender(f *testing.F) {
	f.Add("x: {select: line, drivers: {press: {cfg: {polling: 2s}}}}", "g1: {labels: {line: press}, variables: {speed: null}}")
	f.Add("x: {select: '!a', variables: {flow.a: {address: {addr: null, node: x}}}}", "g: {endpoints: {plc: {opts: 5}}, settings: {bus: {}}}")
	base, _, findings := config.ReadText(config.Endpoints, "endpoints.yml", []byte(endpoints))
	if findings != nil {
		f.Fatal(findings)
	}
	f.Fuzz(func(t *testing.T, groups, gateways string) {
		g, _, bad := config.ReadText(config.Groups, "groups.yml", []byte(groups))
		w, _, worse := config.ReadText(config.Gateways, "gateways.yml", []byte(gateways))
		if bad.Err() != nil || worse.Err() != nil {
			return
		}
		doc := base.Document().WithTable(config.Groups, g.Document()).WithTable(config.Gateways, w.Document())
		fleet, _ := New(doc)
		for _, id := range fleet.Gateways() {
			r, err := fleet.Render(id)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Problems) > 0 {
				continue
			}
			if _, err := r.Doc.Snapshot(nil); err != nil {
				t.Errorf("%s renders to what can't be read: %v\n%s", id, err, r.Doc.JSON())
			}
		}
	})
}

// TestAlike: what is said to be alike is, and a change that reaches a gateway is seen.
func TestAlike(t *testing.T) {
	groups := "press: {select: line=press, drivers: {press: {cfg: {polling: 500ms}}}}\n"
	gateways := "a: {labels: {line: press}, endpoints: {plc: {host: 10.1.1.1}}}\nb: {labels: {line: press}}\nc: {labels: {line: saw}}\n"
	from, _ := read(t, map[string]string{"groups.yml": groups, "gateways.yml": gateways})
	was, _ := New(from)
	for name, c := range map[string]struct{ file, old, new, alike string }{
		"nothing":            {"groups.yml", "", "", "a b c"},
		"a gateway's layer":  {"gateways.yml", "10.1.1.1", "10.1.1.2", "b c"},
		"a gateway's labels": {"gateways.yml", "line: saw", "line: press", "a b"},
		"a group":            {"groups.yml", "500ms", "600ms", "c"},
		"a group's gateways": {"groups.yml", "line=press", "line", "a b"},
		"the base":           {"endpoints.yml", "timeout: 1s", "timeout: 2s", ""},
		"a new gateway":      {"gateways.yml", "\nc: ", "\nd: {}\nc: ", "a b c"},
	} {
		files := map[string]string{"groups.yml": groups, "gateways.yml": gateways, "endpoints.yml": endpoints}
		files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
		to, _ := read(t, files)
		is, _ := New(to)
		var alike []string
		for _, id := range is.Gateways() {
			if is.Alike(was, id) {
				alike = append(alike, id)
				if render(t, is, id).Doc.SHA256() != render(t, was, id).Doc.SHA256() {
					t.Errorf("%s: %s isn't alike", name, id)
				}
			}
		}
		if got := strings.Join(alike, " "); got != c.alike {
			t.Errorf("%s: %q are alike, want %q", name, got, c.alike)
		}
	}
}
