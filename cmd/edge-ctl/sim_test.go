package main

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// TestSimTables: what sim writes passes lint, for the largest device of each protocol too.
func TestSimTables(t *testing.T) {
	t.Parallel()
	most := map[string]string{"modbus": "50000", "s7": "16000"}
	for _, p := range protocols.Builtin() {
		if p.Simulate == nil {
			continue
		}
		for _, points := range []string{"1", most[p.Name]} {
			t.Run(p.Name+" "+points, func(t *testing.T) {
				t.Parallel()
				d, err := p.Simulate.Start(driver.Args{Options: map[string]string{"listen": "127.0.0.1:0", "points": points}})
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				const every = 97 // of all kinds, from all over the device; all of them take seconds
				var some []config.Variable
				for i := len(d.Variables) - 1; i >= 0; i -= every {
					some = append(some, d.Variables[i])
				}
				d.Variables = some
				dir := t.TempDir()
				if err := writeTables(d, dir); err != nil {
					t.Fatal(err)
				}
				res := lint.Paths(dir)
				if len(res.Files) != 3 || len(res.Findings) > 0 {
					t.Errorf("%d files, %d findings, the first %v", len(res.Files), len(res.Findings), res.Findings[:min(1, len(res.Findings))])
				}
			})
		}
	}
}
