package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestCanonicalForm pins the form down: hashes of documents outlive releases.
func TestCanonicalForm(t *testing.T) {
	s, err := LoadDir(tables(t, map[string]string{
		"endpoints.yml": "b: {scheme: tcp, host: \"é<\\\"\\n\", port: 0x1F6, opts: {timeout: 1000ms, baud: 9600, on: true}}\na: {scheme: serial, host: /dev/ttyS0, opts: {}}\n",
		"drivers.yml":   "d: {kind: dyn, path: p, endpoint_id: a, proto: x, cfg: {z: 1.0, y: 1.5, x: 1e2, w: [~, true, 1e21], v: {}}}\n",
		"variables.yml": "- {tag: ä, driver_id: d, access: R, address: {db: 1, start: 0, size: 2, area: DB}, datatype: float, heartbeat: 1000ms, deadband: 0.50, report: always}\n" +
			"- {tag: a, driver_id: d, access: RW, address: {type: holding, addr: 0, bit: 0}, datatype: bool, deadband: 0}\n",
		"settings.yml": "bus: {pause_hi: 0.80, wal_flush_ms: 20}\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"endpoints":{` +
		`"a":{"host":"/dev/ttyS0","scheme":"serial"},` +
		`"b":{"host":"é<\"\n","opts":{"baud":"9600","on":"true","timeout":"1000ms"},"port":502,"scheme":"tcp"}},` +
		`"drivers":{"d":{"cfg":{"v":{},"w":[null,true,1e+21],"x":100,"y":1.5,"z":1},"endpoint_id":"a","kind":"dyn","path":"p","proto":"x"}},` +
		`"variables":{` +
		`"a":{"access":"RW","address":{"addr":0,"bit":0,"type":"holding"},"datatype":"bool","driver_id":"d","tag":"a"},` +
		`"ä":{"access":"R","address":{"area":"DB","db":1,"size":2,"start":0,"type":"s7_db"},"datatype":"float32","deadband":0.5,"driver_id":"d","heartbeat":"1s","report":"always","tag":"ä"}},` +
		`"settings":{"bus":{"pause_hi":0.8,"wal_flush_ms":20}}}`
	if got := string(s.Document().JSON()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if sum := sha256.Sum256([]byte(want)); s.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("SHA256 is not that of the document")
	}
}

// TestHashIgnoresSpelling: order, style and comments of a file are not part of a
// configuration.
func TestHashIgnoresSpelling(t *testing.T) {
	a, errA := LoadDir(tables(t, good(nil)))
	b, errB := LoadDir(tables(t, good(map[string]string{
		"variables.yml": "# the same\n- {datatype: uint16, access: \"R\", address: {addr: 0x9C41, type: holding}, driver_id: m1, tag: a}\n",
		"drivers.yml":   "m1: {proto: modbus, kind: static, cfg: {polling: 1s, unit_id: 1.0}, endpoint_id: plc}\n",
	})))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a.SHA256 != b.SHA256 {
		t.Errorf("different hashes:\n%s\n%s", a.Document().JSON(), b.Document().JSON())
	}
}

func TestItems(t *testing.T) {
	s := plant(2, 2)
	var got []string
	for _, table := range Tables() {
		n := 0
		for _, it := range s.Document().Items(table) {
			id, item := it.ID, it.JSON
			got, n = append(got, id), n+1
			var err error
			switch table {
			case Endpoints:
				_, err = DecodeEndpoint(id, item)
			case Drivers:
				_, err = DecodeDriver(id, item)
			case Variables:
				var v Variable
				if v, err = DecodeVariable(id, item); err == nil && !v.Equal(s.Variable(id)) {
					t.Errorf("%s became %+v", id, v)
				}
			case Settings:
				_, err = DecodeSettings(id, item)
			}
			if err != nil {
				t.Errorf("%s %s: %v", table, id, err)
			}
		}
		if n != s.Len(table) {
			t.Errorf("%s: %d items, Len %d", table, n, s.Len(table))
		}
	}
	want := []string{"plc0", "m0", "m1", "t.0.00000", "t.0.00001", "t.1.00000", "t.1.00001", "bus"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if groups := s.DriverVariables(); len(groups["m1"]) != 2 || groups["m1"][0].Tag != "t.1.00000" {
		t.Errorf("groups: %v", groups)
	}
}

func TestJSONOfItems(t *testing.T) {
	s := plant(1, 1)
	for _, in := range []any{s.Endpoints["plc0"], s.Drivers["m0"], s.Variables[0]} {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		switch in.(type) {
		case Endpoint:
			var e Endpoint
			err = json.Unmarshal(b, &e)
			out.Write(e.appendCanonical(nil))
		case Driver:
			var d Driver
			err = json.Unmarshal(b, &d)
			out.Write(d.appendCanonical(nil))
		case Variable:
			var v Variable
			err = json.Unmarshal(b, &v)
			out.Write(v.appendCanonical(nil))
		}
		if err != nil || out.String() != string(b) {
			t.Errorf("%s became %s, %v", b, out.String(), err)
		}
	}
}

// TestParseDocumentRefuses: what the store holds is checked like any file.
func TestParseDocumentRefuses(t *testing.T) {
	for doc, want := range map[string]string{
		``:                   "error: not JSON: EOF (syntax)",
		`{"endpoints":{}} x`: "not JSON",
		`{"endpoints":{"a":{"scheme":"tcp","host":"${file:h}"}}}`: "endpoints/a/host: error: host: secrets are not filled in here",
		`[]`:                     "expected an object of tables, got a list",
		`{"endpoint":{}}`:        "unknown table endpoint",
		`{"endpoints":{"a":{}}}`: "endpoints/a: error: key host is missing (missing-key)",
		`{"variables":[]}`:       "expected an object, got a list",
		`{"variables":{"a":{"tag":"b","driver_id":"d","access":"R","address":{"node":"n"},"datatype":"bool"}}}`: `variables/a/tag: error: tag: is b, but the item's name is a`,
		`{"drivers":{"d":{"kind":"static","endpoint_id":"e","proto":"x"}}}`:                                     "there is no endpoint e",
		`{"drivers":{"d":{"kind":"static","endpoint_id":"e","proto":"x","cfg":{"n":[1e999]}}}}`:                 "cfg.n.0: 1e999 is larger than a number can be",
	} {
		s, err := ParseDocument([]byte(doc))
		var fs Findings
		if s != nil || !errors.As(err, &fs) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", doc, err, want)
		}
	}
}

// FuzzParseDocument: a damaged or malicious document is refused, or is one that
// its own form reproduces.
func FuzzParseDocument(f *testing.F) {
	f.Add(plant(2, 2).Document().JSON())
	f.Add([]byte(`{"variables":{"a":{"tag":"a","driver_id":"d","access":"R","address":{"node":"n"},"datatype":"bool"}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := ParseDocument(doc)
		if err != nil {
			return
		}
		again, err := ParseDocument(s.Document().JSON())
		if err != nil || again.SHA256 != s.SHA256 {
			t.Fatalf("%s: %v", s.Document().JSON(), err)
		}
	})
}

// TestFields lists what a schema describes for a value, by way of references,
// free keys and what is not there.
func TestFields(t *testing.T) {
	fields := Fields("endpoints", map[string]any{"a": map[string]any{"opts": map[string]any{"password": "x", "timeout": "1s"}}})
	secret := map[string]bool{}
	for _, f := range fields {
		secret[f.Key()] = f.Secret
	}
	want := map[string]bool{"a.host": false, "a.scheme": false, "a.port": false, "a.opts.password": true, "a.opts.username": true, "a.opts.timeout": false}
	if !maps.Equal(secret, want) {
		t.Errorf("got %v, want %v", secret, want)
	}
}

// BenchmarkParseDocument100k loads what the config center holds: with the
// etcd round trip, at most 1.5 s.
func BenchmarkParseDocument100k(b *testing.B) {
	doc := plant(1000, 100).Document().JSON()
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDocument(doc); err != nil {
			b.Fatal(err)
		}
	}
}
