package lint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// marker is what no message may show.
const marker = "hunter2"

// secretFields lists the path of every field that a schema marks x-secret, found in
// the schema files themselves, with the connectors below a name.
func secretFields(t *testing.T) map[string][][]string {
	t.Helper()
	read := func(name string) (doc map[string]any) {
		b, err := schemas.FS.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, &doc)
		}
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	var walk func(node any, path []string, out *[][]string)
	walk = func(node any, path []string, out *[][]string) {
		m, _ := node.(map[string]any)
		if m["x-secret"] == true {
			*out = append(*out, path)
		}
		props, _ := m["properties"].(map[string]any)
		for name, sub := range props {
			walk(sub, append(slices.Clone(path), name), out)
		}
		defs, _ := m["definitions"].(map[string]any)
		walkItem := func(name string) { walk(defs[name], append(slices.Clone(path), "a"), out) }
		for _, item := range []string{"endpoint", "driver"} {
			if defs[item] != nil {
				walkItem(item)
			}
		}
	}
	found := map[string][][]string{}
	for _, name := range []string{"endpoints", "drivers", "settings", "gateway"} {
		var out [][]string
		walk(read(name+".schema.json"), nil, &out)
		found[name] = out
	}
	var mqtt [][]string
	walk(read("connectors/mqtt5.schema.json"), []string{"connectors", "m"}, &mqtt)
	found["gateway"] = append(found["gateway"], mqtt...)
	var cfg [][]string
	walk(read("drivers/modbus.schema.json"), []string{"a", "cfg"}, &cfg)
	found["drivers"] = append(found["drivers"], cfg...)
	if len(found["endpoints"]) < 2 || len(found["gateway"]) < 7 {
		t.Fatalf("found only %v", found)
	}
	return found
}

// wrongs are values that hold the marker, or digits that stand for it, in every type
// and with every slip of the pen.
var wrongs = [...]string{
	marker, `"` + marker + `"`, "[" + marker + "]", "{" + marker + ": " + marker + "}", "{k: " + marker + "}", "[[" + marker + "]]",
	"!" + marker + " x", "!!binary " + marker, "*" + marker, "&" + marker + " x", "'" + marker, "\"" + marker, "@" + marker, "%" + marker, "`" + marker,
	marker + ": " + marker, "${file:" + marker + " oops}", "${env:" + marker + "}", "mqtt://ann:" + marker + "@h", "|\n          " + marker,
	"0724270", "724270", "1e724270", "7242707242707242707242", "0o724270", "0b1_724270", "7242_70", "true # " + marker, "{0724270: 0724270}",
}

func leaks(text string) bool {
	// An anchor's or a key's name is as good as the value.
	return strings.Contains(text, marker) || strings.Contains(text, "724270") || strings.Contains(text, "7242_70") || strings.Contains(text, "240824")
}

// nested writes value at path in a mapping, in block or in flow style.
func nested(path []string, value string, flow bool) string {
	var b strings.Builder
	for i, step := range path {
		if flow && i > 0 {
			fmt.Fprintf(&b, "{%s: ", step)
			continue
		}
		fmt.Fprintf(&b, "%s%s: ", strings.Repeat("  ", i), step)
		if i < len(path)-1 && !(flow && i == 0) {
			b.WriteString("\n")
		}
	}
	b.WriteString(value)
	if flow {
		b.WriteString(strings.Repeat("}", len(path)-1))
	}
	return b.String() + "\n"
}

// TestNoSecretInMessages plants a marker in every secret field of every schema, with
// right and wrong types, and looks for it in everything that is said.
func TestNoSecretInMessages(t *testing.T) {
	dir := t.TempDir()
	said := 0
	for schema, paths := range secretFields(t) {
		for _, path := range paths {
			for _, value := range wrongs {
				for _, flow := range []bool{false, true} {
					if flow && strings.Contains(value, "\n") {
						continue
					}
					name := filepath.Join(dir, schema+".yml")
					if err := os.WriteFile(name, []byte(nested(path, value, flow)), 0o600); err != nil {
						t.Fatal(err)
					}
					var out bytes.Buffer
					res := Paths(name)
					for _, err := range []error{
						WriteText(&out, res.Findings, Style{Source: true}), WriteJSON(&out, res.Findings), WriteSARIF(&out, res.Findings, "v"),
					} {
						if err != nil {
							t.Fatal(err)
						}
					}
					if said += len(res.Findings); leaks(out.String()) {
						t.Fatalf("%s of %s: %q is shown:\n%s", strings.Join(path, "."), schema, value, out.String())
					}
				}
			}
		}
	}
	if said < 1000 {
		t.Errorf("only %d findings", said)
	}
}

// TestNoSecretFromOutside: nor does a variable of the environment, a flag, an item in
// JSON or a setting show one.
func TestNoSecretFromOutside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yml")
	if err := os.WriteFile(path, []byte("gateway_id: g\nconnectors: {m: {kind: mqtt5}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := secretFields(t)
	bad := []string{marker, "${file:" + marker + " x}", "mqtt://ann:" + marker + "@h", "0724270"}
	for _, f := range fields["gateway"] {
		key := strings.Join(f, ".")
		for _, value := range bad {
			g, err := bootstrap.Load(path, nil, []string{bootstrap.EnvName(key) + "=" + value})
			g2, err2 := bootstrap.Load(path, map[string]string{key: value}, nil)
			text := fmt.Sprint(err, err2)
			for _, g := range []*bootstrap.Gateway{g, g2} {
				if g != nil {
					text += fmt.Sprint(g.Warnings)
				}
			}
			if leaks(text) {
				t.Errorf("%s=%s: %s", key, value, text)
			}
		}
	}
	for _, key := range []string{"EDGE_GW_CONNECTORS_M_ENDPOINT", "EDGE_GW_CONFIG_ETCD_ENDPOINTS"} {
		_, err := bootstrap.Load(path, nil, []string{key + "=mqtt://ann:" + marker + "@h and more"})
		if leaks(fmt.Sprint(err)) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, f := range fields["endpoints"] {
		for _, value := range []string{`"` + marker + `"`, `["` + marker + `"]`, `{"` + marker + `":1}`, "724270", "true", "1e724270"} {
			item := `{"scheme":"tcp","host":"h","opts":{"` + f[len(f)-1] + `":` + value + `}}`
			_, err := config.DecodeEndpoint("a", []byte(item))
			_, err2 := config.ParseDocument([]byte(`{"endpoints":{"a":` + item + `}}`))
			if leaks(fmt.Sprint(err, err2)) {
				t.Errorf("%s: %v, %v", item, err, err2)
			}
		}
	}
}

// TestNoUserInfo: a URL's user and password are shown nowhere, whichever field it was
// put into by mistake.
func TestNoUserInfo(t *testing.T) {
	dir := t.TempDir()
	url := "tcp://ann:" + marker + "@10.0.0.1:502"
	for name, files := range map[string][2]string{
		"host":     {"endpoints.yml", "a: {scheme: tcp, host: \"" + url + "\", port: 502}\n"},
		"host two": {"endpoints.yml", "a:\n  scheme: tcp\n  host: \"ann:" + marker + "@h\"\n  port: 502\n"},
		"scheme":   {"endpoints.yml", "a: {scheme: \"" + url + "\", host: h, port: 502}\n"},
		"port":     {"endpoints.yml", "a: {scheme: tcp, host: h, port: \"" + url + "\"}\n"},
		"backup":   {"endpoints.yml", "a: {scheme: tcp, host: h, port: 1, opts: {backup: \"" + url + "\"}}\n"},
		"option":   {"endpoints.yml", "a: {scheme: tcp, host: h, port: 1, opts: {timeout: \"" + url + "\", baud: \"" + url + "\"}}\n"},
		"source":   {"endpoints.yml", "a: {scheme: tcp, host: h, port: 1, opts: {source: \"" + url + "\"}}\n"},
		"opts":     {"endpoints.yml", "a: {scheme: tcp, host: h, port: 1, opts: " + marker + "}\n"},
		"opts two": {"endpoints.yml", "a: {scheme: tcp, host: h, port: 1, opts: [password, " + marker + "]}\n"},
		"no blank": {"endpoints.yml", "a: {scheme: tcp, host: h, port: 1, opts: {password:" + marker + "}}\n"},
		"driver":   {"drivers.yml", "a: {kind: static, proto: modbus, endpoint_id: \"" + url + "\", cfg: {unit_id: 1, polling: \"" + url + "\"}}\n"},
		"endpoint": {"gateway.yml", "gateway_id: g\nconnectors: {m: {kind: mqtt5, endpoint: \"" + url + " x\"}}\n"},
		"broker":   {"gateway.yml", "gateway_id: g\nconnectors:\n  m:\n    kind: mqtt5\n    endpoint: mqtt://ann:" + marker + "@h\n"},
		"etcd":     {"gateway.yml", "gateway_id: g\nconfig: {etcd: {endpoints: \"" + url + "\", listen: \"" + url + " \"}}\n"},
	} {
		path := filepath.Join(dir, files[0])
		if err := os.WriteFile(path, []byte(files[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		res := Paths(path)
		if err := WriteText(&out, res.Findings, Style{Source: true}); err != nil {
			t.Fatal(err)
		}
		if res.Findings.Err() == nil {
			t.Errorf("%s: nothing is found", name)
		}
		if leaks(out.String()) {
			t.Errorf("%s:\n%s", name, out.String())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
