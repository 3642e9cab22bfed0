package config

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plant makes a snapshot of drivers × each variables, two drivers per endpoint.
func plant(drivers, each int) *Snapshot {
	eps, drvs := map[string]Endpoint{}, map[string]Driver{}
	var vars []Variable
	for d := range drivers {
		ep := fmt.Sprintf("plc%d", d/2)
		eps[ep] = Endpoint{Scheme: "tcp", Host: "10.0.0.1", Port: 502, Opts: map[string]string{"timeout": "1s"}}
		id := fmt.Sprintf("m%d", d)
		drvs[id] = Driver{Kind: KindStatic, EndpointID: ep, Proto: "modbus", Cfg: map[string]any{"unit_id": int64(1), "polling": "1s"}}
		for i := range each {
			vars = append(vars, Variable{Tag: fmt.Sprintf("t.%d.%05d", d, i), DriverID: id, Access: AccessR,
				Address: Address{Type: AddrHolding, Addr: uint32(i)}, Datatype: TypeUint16, Scale: "value / 10"})
		}
	}
	return NewSnapshot(eps, drvs, vars, map[string]map[string]any{"bus": {"wal_flush_ms": int64(100)}})
}

// change returns a copy of s after f.
func change(s *Snapshot, f func(*Snapshot)) *Snapshot {
	c := &Snapshot{Endpoints: maps.Clone(s.Endpoints), Drivers: maps.Clone(s.Drivers), Variables: slices.Clone(s.Variables), Settings: maps.Clone(s.Settings)}
	f(c)
	return NewSnapshot(c.Endpoints, c.Drivers, c.Variables, c.Settings)
}

func TestDiffAndImpact(t *testing.T) {
	old := plant(6, 3)
	bit := uint8(3)
	for name, c := range map[string]struct {
		edit   func(*Snapshot)
		diff   Difference
		impact Impact
	}{
		"nothing": {edit: func(*Snapshot) {}},
		"added endpoint, driver and variable": {
			edit: func(s *Snapshot) {
				s.Endpoints["new"] = Endpoint{Scheme: "tcp", Host: "h"}
				s.Drivers["n"] = Driver{Kind: KindStatic, EndpointID: "new", Proto: "modbus"}
				s.Variables = append(s.Variables, Variable{Tag: "n.1", DriverID: "n"})
			},
			diff: Difference{Endpoints: TableDiff{Added: []string{"new"}}, Drivers: TableDiff{Added: []string{"n"}}, Variables: TableDiff{Added: []string{"n.1"}},
				ByDriver: map[string]*VariableDiff{"n": {Added: []string{"n.1"}}}},
			impact: Impact{Start: []string{"n"}},
		},
		"removed driver with its variables": {
			edit: func(s *Snapshot) {
				delete(s.Drivers, "m5")
				s.Variables = slices.DeleteFunc(s.Variables, func(v Variable) bool { return v.DriverID == "m5" })
			},
			diff: Difference{Drivers: TableDiff{Removed: []string{"m5"}}, Variables: TableDiff{Removed: []string{"t.5.00000", "t.5.00001", "t.5.00002"}},
				ByDriver: map[string]*VariableDiff{"m5": {Removed: []string{"t.5.00000", "t.5.00001", "t.5.00002"}}}},
			impact: Impact{Stop: []string{"m5"}},
		},
		"changed endpoint restarts its drivers only": {
			edit: func(s *Snapshot) {
				e := s.Endpoints["plc1"]
				e.Port, e.Opts = 503, map[string]string{"timeout": "2s"}
				s.Endpoints["plc1"] = e
			},
			diff: Difference{Endpoints: TableDiff{Changed: []Change{{"plc1", []FieldChange{
				{"opts.timeout", "1s", "2s"}, {"port", int64(502), int64(503)}}}}}},
			impact: Impact{Drain: []string{"plc1"}, Restart: []string{"m2", "m3"}},
		},
		"changed cfg restarts the driver; its variables don't reload besides": {
			edit: func(s *Snapshot) {
				d := s.Drivers["m0"]
				d.Cfg = map[string]any{"unit_id": int64(2), "polling": "1s"}
				s.Drivers["m0"] = d
				s.Variables[0].Scale = "value"
			},
			diff: Difference{Drivers: TableDiff{Changed: []Change{{"m0", []FieldChange{{"cfg.unit_id", int64(1), int64(2)}}}}},
				Variables: TableDiff{Changed: []Change{{"t.0.00000", []FieldChange{{"scale", "value / 10", "value"}}}}},
				ByDriver:  map[string]*VariableDiff{"m0": {Changed: []string{"t.0.00000"}}}},
			impact: Impact{Restart: []string{"m0"}},
		},
		"driver moves to another endpoint": {
			edit: func(s *Snapshot) {
				d := s.Drivers["m0"]
				d.EndpointID = "plc2"
				s.Drivers["m0"] = d
			},
			diff:   Difference{Drivers: TableDiff{Changed: []Change{{"m0", []FieldChange{{"endpoint_id", "plc0", "plc2"}}}}}},
			impact: Impact{Restart: []string{"m0"}},
		},
		"changed variable reloads its driver": {
			edit: func(s *Snapshot) { s.Variables[4].Address.Bit = &bit },
			diff: Difference{Variables: TableDiff{Changed: []Change{{"t.1.00001", []FieldChange{{"address.bit", nil, int64(3)}}}}},
				ByDriver: map[string]*VariableDiff{"m1": {Changed: []string{"t.1.00001"}}}},
			impact: Impact{Reload: []string{"m1"}},
		},
		"variable moves to another driver": {
			edit: func(s *Snapshot) { s.Variables[0].DriverID = "m1" },
			diff: Difference{Variables: TableDiff{Changed: []Change{{"t.0.00000", []FieldChange{{"driver_id", "m0", "m1"}}}}},
				ByDriver: map[string]*VariableDiff{"m0": {Removed: []string{"t.0.00000"}}, "m1": {Added: []string{"t.0.00000"}}}},
			impact: Impact{Reload: []string{"m0", "m1"}},
		},
		"settings": {
			edit: func(s *Snapshot) {
				s.Settings["bus"] = map[string]any{"wal_flush_ms": int64(20)}
				s.Settings["connectors.mqtt"] = map[string]any{"qos": int64(1)}
			},
			diff:   Difference{Settings: TableDiff{Added: []string{"connectors.mqtt"}, Changed: []Change{{"bus", []FieldChange{{"wal_flush_ms", int64(100), int64(20)}}}}}},
			impact: Impact{Groups: []string{"bus", "connectors.mqtt"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := change(old, c.edit)
			d := Diff(old, now)
			if c.diff.ByDriver == nil {
				c.diff.ByDriver = map[string]*VariableDiff{}
			}
			if diff := cmp.Diff(c.diff, *d); diff != "" {
				t.Errorf("difference (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.impact, *d.Impact(old, now), cmp.Transformer("len", func(s []string) string { return fmt.Sprint(s) })); diff != "" {
				t.Errorf("impact (-want +got):\n%s", diff)
			}
			if same := old.SHA256 == now.SHA256; same != d.Empty() {
				t.Errorf("equal hashes: %t, empty difference: %t", same, d.Empty())
			}
			for _, table := range Tables() {
				if same := old.Document().TableSHA256(table) == now.Document().TableSHA256(table); same != d.Table(table).Empty() {
					t.Errorf("%s: equal hashes: %t, empty difference: %t", table, same, d.Table(table).Empty())
				}
			}
		})
	}
}

func TestDiffFromNothing(t *testing.T) {
	s := plant(2, 2)
	d := Diff(nil, s)
	if d.Len() != 1+2+4+1 || len(d.Impact(nil, s).Start) != 2 || d.Impact(nil, s).Empty() {
		t.Errorf("got %+v", d)
	}
	if d := Diff(s, nil); len(d.Variables.Removed) != 4 {
		t.Errorf("got %+v", d)
	}
}

// BenchmarkDiff10k compares two snapshots of 10,000 variables that differ in one.
func BenchmarkDiff10k(b *testing.B) {
	old := plant(100, 100)
	now := change(old, func(s *Snapshot) { s.Variables[5000].Scale = "value / 100" })
	b.ReportAllocs()
	for b.Loop() {
		if d := Diff(old, now); len(d.Variables.Changed) != 1 {
			b.Fatal("nothing found")
		}
	}
}
