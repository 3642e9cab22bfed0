package opcua

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// motor is what the server has as Motor, but for its last brace.
const motor = `{"Name":"M1 \"grün\"","Position":{"X":1.5,"Y":-2},"Trail":[{"X":1,"Y":2},{"X":3,"Y":4}],"Speeds":[0.5,1.5],` +
	`"When":"2026-11-27T14:03:00.123Z","State":3,"Any":{"X":7,"Y":8},"Choice":{"Text":"second"},` +
	`"Reading":{"Name":"r","Value":0.25,"Level":9},"Big":9007199254740993,"Raw":"AP8=","None":[],` +
	`"Code":"0x80340000 BadNodeIdUnknown","Node":"ns=2;s=Temp"`

// Structures come as JSON by the server's own definition of their types, by subscription,
// by polling and on demand.
func TestStructures(t *testing.T) {
	srv := start(t, settings{Structures: true})
	want := map[string]string{
		"Point": `{"X":1,"Y":2.5}`, "Reading": `{"Name":"r","Note":"hot","Level":65535}`, "Choice": `{"Place":{"X":1,"Y":2}}`,
		"Tree":  `{"Value":1,"Children":[{"Value":2,"Children":[{"Value":4,"Children":[]},{"Value":5,"Children":[]}]},{"Value":3,"Children":[{"Value":6,"Children":[]},{"Value":7,"Children":[]}]}]}`,
		"Motor": motor + "}", "MotorPlus": motor + `,"Extra":-5}`, "Points": `[{"X":1,"Y":2},{"X":3,"Y":4}]`,
	}
	for _, mode := range []string{"subscribe", "poll"} {
		t.Run(mode, func(t *testing.T) {
			second := variable("second", "nsu=urn:plant:line1;s=Points", config.TypeJSON)
			second.Address.Index = 2
			vars := []config.Variable{
				second, variable("text", "nsu=urn:plant:line1;s=Point", config.TypeString), variable("number", "nsu=urn:plant:line1;s=Point", config.TypeFloat64),
				variable("status", "i=2256", config.TypeJSON),
			}
			for name := range want {
				vars = append(vars, variable(name, "nsu=urn:plant:line1;s="+name, config.TypeJSON))
			}
			r := run(t, options{port: srv.cfg.Port, opts: none(), vars: vars, cfg: map[string]any{"mode": mode, "publishing": "50ms", "polling": "100ms"}})
			for name, text := range want {
				r.wait(name, patience, func() bool { f, ok := r.last(name); return ok && f.Quality == frame.Good })
				f, _ := r.last(name)
				if f.Value.String() != text {
					t.Errorf("%s = %s\nexpected %s", name, f.Value, text)
				}
				if kind := f.Value.Kind(); (kind == frame.KindArray) != (name == "Points") || kind != frame.KindArray && kind != frame.KindObject {
					t.Errorf("%s is of kind %d", name, kind)
				}
				if read, err := r.driver.Read(t.Context(), name); err != nil || read.Value.String() != text {
					t.Errorf("read now: %s = %v, %v", name, read.Value, err)
				}
			}
			r.waitValue("second", `{"X":3,"Y":4}`)
			r.waitValue("text", want["Point"])
			r.wait("number is bad", patience, func() bool { f, ok := r.last("number"); return ok && f.Quality == frame.Bad })
			_, reasons := r.driver.(driver.Reasoner).Reasons()
			if got := reasons["number"].Text; !strings.Contains(got, "datatype json reads it") {
				t.Errorf("number: %q", got)
			}
			r.wait("the server's status", patience, func() bool { f, ok := r.last("status"); return ok && f.Quality == frame.Good })
			f, _ := r.last("status")
			var status struct {
				State     int
				BuildInfo struct{ ProductName string }
			}
			if err := json.Unmarshal([]byte(f.Value.Text()), &status); err != nil || status.BuildInfo.ProductName == "" {
				t.Errorf("the server's status is %s, %v", f.Value, err)
			}
		})
	}
}
