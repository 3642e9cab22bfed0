package gateway

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAuditIsChained: records read back from JSON, as a consumer has them, hold together,
// over restarts too, and none can be changed, left out or put in unseen.
func TestAuditIsChained(t *testing.T) {
	dir := t.TempDir()
	var records []map[string]any
	for i := range 6 {
		c := newAuditChain(dir) // a restart each time
		r := map[string]any{"time": time.Now().UTC(), "method": "TagService/WriteTag", "user": "a\u202e<&>", "uid": uint32(i), "request": `{"tag":"x"}`}
		if err := c.seal(r); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		records = append(records, back)
	}
	holds := func(rs []map[string]any) bool {
		for i, r := range rs {
			hash, err := auditHash(r)
			if err != nil || r["hash"] != hash || i > 0 && (r["prev"] != rs[i-1]["hash"] || r["n"].(float64) != rs[i-1]["n"].(float64)+1) {
				return false
			}
		}
		return true
	}
	if !holds(records) {
		t.Fatalf("%v", records)
	}
	if holds(append(append([]map[string]any{}, records[:2]...), records[3:]...)) {
		t.Error("a record can be left out")
	}
	changed := map[string]any{}
	for k, v := range records[2] {
		changed[k] = v
	}
	changed["user"] = "somebody else"
	if holds([]map[string]any{records[0], records[1], changed, records[3]}) {
		t.Error("a record can be changed")
	}
	if changed["hash"], _ = auditHash(changed); holds([]map[string]any{records[1], changed, records[3]}) {
		t.Error("a record can be changed with its hash")
	}
	if err := os.WriteFile(filepath.Join(dir, auditFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := map[string]any{}
	if err := newAuditChain(dir).seal(again); err != nil || again["n"] != uint64(1) || again["prev"] != "" {
		t.Errorf("a lost end: %v, %v", again, err)
	}
}
