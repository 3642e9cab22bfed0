package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// written returns n records as the log has them. Each is written after a restart.
func written(t *testing.T, path string, n int) (out []string) {
	t.Helper()
	for i := range n {
		r := map[string]any{"time": time.Now().UTC(), "method": "TagService/WriteTag", "user": "a\u202e<&>", "uid": uint32(i), "request": `{"tag":"x"}`}
		err := NewChain(path).Record(r, func() error {
			text, err := json.Marshal(r)
			out = append(out, string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func verify(records []string, anchors ...Mark) Report {
	v := NewVerifier(anchors...)
	for i, r := range records {
		v.Take(uint64(i+1), []byte(r))
	}
	return v.Report()
}

// TestAuditorFindsWhatWasDone: whatever a thief of the disk, or a consumer, does to records
// is told, with its place.
func TestAuditorFindsWhatWasDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.chain")
	whole := written(t, path, 200)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	anew := written(t, path, 3)
	edit := func(f func(rs []string) []string) []string { return f(slices.Clone(whole)) }
	rehashed := func(text, from, to string) string {
		var r map[string]any
		if err := json.Unmarshal([]byte(strings.Replace(text, from, to, 1)), &r); err != nil {
			t.Fatal(err)
		}
		hash, err := hashOf(r)
		if err != nil {
			t.Fatal(err)
		}
		r["hash"] = hash
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for name, c := range map[string]struct {
		records []string
		kinds   string // of the breaks, with their numbers
		runs    string
	}{
		"nothing":         {whole, "", "1-200"},
		"began later":     {whole[100:], "", "101-200"},
		"one left out":    {edit(func(rs []string) []string { return slices.Delete(rs, 9, 10) }), "missing 11", "1-9 11-200"},
		"last in a hole":  {edit(func(rs []string) []string { return slices.Delete(rs, 9, 199) }), "missing 200", "1-9 200-200"},
		"many left out":   {edit(func(rs []string) []string { return slices.Delete(rs, 9, 50) }), "missing 51", "1-9 51-200"},
		"changed":         {edit(func(rs []string) []string { rs[9] = strings.Replace(rs[9], "WriteTag", "ReadTag", 1); return rs }), "changed 10 missing 11", "1-9 11-200"},
		"rehashed":        {edit(func(rs []string) []string { rs[9] = rehashed(rs[9], "WriteTag", "ReadTag"); return rs }), "replaced 11", "1-10 11-200"},
		"last rehashed":   {edit(func(rs []string) []string { rs[199] = rehashed(rs[199], "WriteTag", "ReadTag"); return rs }), "", "1-200"},
		"key put in":      {edit(func(rs []string) []string { rs[9] = strings.Replace(rs[9], "{", `{"x":1,`, 1); return rs }), "changed 10 missing 11", "1-9 11-200"},
		"key twice":       {edit(func(rs []string) []string { rs[9] = strings.Replace(rs[9], "{", `{"user":"ann",`, 1); return rs }), "unreadable 0 missing 11", "1-9 11-200"},
		"nested":          {edit(func(rs []string) []string { rs[9] = `{"n":10,"prev":{}}`; return rs }), "unreadable 0 missing 11", "1-9 11-200"},
		"followed":        {edit(func(rs []string) []string { rs[9] += "{}"; return rs }), "unreadable 0 missing 11", "1-9 11-200"},
		"no JSON":         {edit(func(rs []string) []string { rs[9] = `[`; return rs }), "unreadable 0 missing 11", "1-9 11-200"},
		"number 0":        {edit(func(rs []string) []string { rs[9] = `{"n":0}`; return rs }), "unreadable 0 missing 11", "1-9 11-200"},
		"came again":      {edit(func(rs []string) []string { return slices.Concat(rs[:100], rs[50:]) }), "", "1-200"},
		"began again":     {edit(func(rs []string) []string { return slices.Concat(rs, rs) }), "", "1-200"},
		"swapped":         {edit(func(rs []string) []string { rs[9], rs[10] = rs[10], rs[9]; return rs }), "", "1-200"},
		"moved far":       {edit(func(rs []string) []string { return slices.Concat(rs[:9], rs[10:150], rs[9:10], rs[150:]) }), "missing 11 misplaced 10", "1-9 11-200"},
		"other one too":   {edit(func(rs []string) []string { return slices.Insert(rs, 10, rehashed(rs[9], "WriteTag", "X")) }), "forked 10", "1-200"},
		"a new chain":     {slices.Concat(whole[:20], anew), "restarted 1", "1-20 1-3"},
		"chain in a hole": {slices.Concat(whole[:20], whole[30:40], anew), "missing 31 restarted 1", "1-20 31-40 1-3"},
		"only anew":       {anew, "", "1-3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := verify(c.records)
			var kinds, runs []string
			for _, b := range r.Breaks {
				kinds = append(kinds, fmt.Sprintf("%s %d", b.Kind, b.N))
			}
			for _, run := range r.Runs {
				runs = append(runs, fmt.Sprintf("%d-%d", run.First.N, run.Last.N))
			}
			if got := strings.Join(kinds, " "); got != c.kinds || r.Whole() != (c.kinds == "") {
				t.Errorf("breaks: %s; expected %s", got, c.kinds)
			}
			if got := strings.Join(runs, " "); got != c.runs {
				t.Errorf("whole: %s; expected %s", got, c.runs)
			}
		})
	}
}

// TestAuditorsAnchor: what a chain alone can't show, its end and a chain written anew, an
// anchor shows.
func TestAuditorsAnchor(t *testing.T) {
	dir := t.TempDir()
	whole, anew := written(t, filepath.Join(dir, "a"), 20), written(t, filepath.Join(dir, "b"), 20)
	at := verify(whole).Runs[0].Last
	anchor, err := ParseAnchor(fmt.Sprintf("%d:%s", at.N, at.Hash))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		records []string
		kinds   string
	}{
		"holds":         {whole, ""},
		"cut off":       {whole[:10], "anchor 20"},
		"written anew":  {anew, "anchor 20"},
		"nothing there": {nil, "anchor 20"},
	} {
		r := verify(c.records, anchor)
		var kinds []string
		for _, b := range r.Breaks {
			kinds = append(kinds, fmt.Sprintf("%s %d", b.Kind, b.N))
		}
		if got := strings.Join(kinds, " "); got != c.kinds {
			t.Errorf("%s: %s; expected %s", name, got, c.kinds)
		}
	}
	early := verify(whole[:5]).Runs[0].Last
	if r := verify(whole[10:], early); !r.Whole() || !strings.Contains(strings.Join(r.Unknown, ";"), "record 5, which an anchor names, is not in this copy") {
		t.Errorf("retention took an anchor: %+v", r)
	}
	for _, bad := range []string{"", "1", "0:" + at.Hash, "1:xyz", "-1:" + at.Hash} {
		if _, err := ParseAnchor(bad); err == nil {
			t.Errorf("%q is an anchor", bad)
		}
	}
}

// TestWhatCannotBeKnown is said.
func TestWhatCannotBeKnown(t *testing.T) {
	whole := written(t, filepath.Join(t.TempDir(), "a"), 20)
	for want, r := range map[string]Report{
		"whether records after 20 were cut off": verify(whole),
		"records 1 to 5 are not in this copy":   verify(whole[5:]),
		"there is no audit record in this copy": verify(nil),
	} {
		if !r.Whole() || !strings.Contains(strings.Join(r.Unknown, ";"), want) {
			t.Errorf("%q is not in %q", want, r.Unknown)
		}
	}
	v := NewVerifier()
	for i := range 100_000 { // a file with nothing but damage takes no memory
		v.Unreadable(1, 2, "x")
		v.Take(0, []byte(fmt.Sprintf(`{"n":%d}`, i)))
	}
	if r := v.Report(); len(r.Unknown) > maxUnknown+1 || len(r.Breaks) != maxBreaks || r.MoreBreaks != 100_000-maxBreaks {
		t.Errorf("%d unknown, %d breaks, %d more", len(r.Unknown), len(r.Breaks), r.MoreBreaks)
	}
}

// TestMemoryOfTheVerifier: runs that never continue each other are bounded too.
func TestMemoryOfTheVerifier(t *testing.T) {
	whole := written(t, filepath.Join(t.TempDir(), "a"), 1)
	var first map[string]any
	if err := json.Unmarshal([]byte(whole[0]), &first); err != nil {
		t.Fatal(err)
	}
	v := NewVerifier()
	for i := range 20_000 {
		r := maps.Clone(first)
		r["n"], r["prev"] = uint64(3*i+2), "x"
		r["hash"], _ = hashOf(r) // it holds nothing that JSON lacks
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		v.Take(uint64(i), text)
	}
	if len(v.recent) > maxRecent || len(v.ahead) > maxAhead || len(v.report.Runs) > maxBreaks+1 {
		t.Errorf("%d recent, %d ahead, %d runs", len(v.recent), len(v.ahead), len(v.report.Runs))
	}
}

// TestRecordsKeepTheirOrder: what is sealed first is published first.
func TestRecordsKeepTheirOrder(t *testing.T) {
	c := NewChain(filepath.Join(t.TempDir(), "audit.chain"))
	var published []string
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			r := map[string]any{}
			err := c.Record(r, func() error {
				text, err := json.Marshal(r)
				published = append(published, string(text))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	v := NewVerifier()
	for i, r := range published {
		v.Take(0, []byte(r))
		if v.last.N != uint64(i+1) {
			t.Fatalf("record %d is published as number %d", v.last.N, i+1)
		}
	}
}

// TestLostEnd: a chain whose end can't be read begins anew, and says so.
func TestLostEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.chain")
	old := written(t, path, 2)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := verify(append(old, written(t, path, 2)...))
	if len(r.Breaks) != 1 || r.Breaks[0].Kind != Restarted {
		t.Errorf("%+v", r)
	}
	// A data_dir that can't be written: records go on, and it is told.
	c := NewChain(filepath.Join(t.TempDir(), "none", "audit.chain"))
	told := false
	if err := c.Record(map[string]any{}, func() error { told = true; return nil }); err == nil || !told {
		t.Errorf("%v, told %v", err, told)
	}
}

// TestLinesOfConsumers: what a consumer keeps can be verified, in each form.
func TestLinesOfConsumers(t *testing.T) {
	records := written(t, filepath.Join(t.TempDir(), "a"), 4)
	text := fmt.Sprintf(`{"seq":7,"tag":"sys.audit","value":%s,"ts":1,"quality":"good"}

[{"seq":8,"tag":"other","value":1},{"seq":9,"tag":"sys.audit","value":%s}]
%s
{"gw":"a","epoch":"e","first_seq":11,"last_seq":11,"prev_seq":10,"config_rev":1,"frames":[{"seq":11,"tag":"sys.audit","value":%s}]}
`, records[0], records[1], records[2], records[3])
	v := NewVerifier()
	if err := v.ReadLines(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if r := v.Report(); !r.Whole() || r.Records != 4 || r.Runs[0].First.Seq != 7 || r.Runs[0].Last.Seq != 11 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"x", "{", `{"a":1}`, `5`, "[5]", "\xff"} {
		if err := NewVerifier().ReadLines(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestOthersFramesAreNoRecords: a driver's or an import's frame is none, whatever its tag.
func TestOthersFramesAreNoRecords(t *testing.T) {
	record := written(t, filepath.Join(t.TempDir(), "a"), 1)[0]
	v := NewVerifier()
	for _, driver := range []string{"", "plc", "import-"} {
		v.TakeBatch(frame.Single(frame.Data, driver, frame.Tag{Name: Tag}, frame.Frame{Value: frame.ObjectValue(record)}))
	}
	if r := v.Report(); r.Records != 1 {
		t.Errorf("%+v", r)
	}
}

// FuzzLines: no file of records breaks the verifier, and none is whole that says nothing.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"seq":7,"tag":"sys.audit","value":{"n":1,"hash":"x"}}`))
	f.Add([]byte(`[{"tag":"sys.audit","value":null}]` + "\n{}"))
	f.Add([]byte(`{"n":18446744073709551615,"hash":"x","prev":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v := NewVerifier(Mark{N: 3})
		_ = v.ReadLines(strings.NewReader(string(text))) // most are wrong
		if r := v.Report(); r.Whole() && len(r.Runs) == 0 {
			t.Errorf("%q is whole: %+v", text, r)
		}
	})
}
