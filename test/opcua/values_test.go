package opcua

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Every built-in type comes as it is, by subscription and by reading.
func TestValues(t *testing.T) {
	srv := shared(t)
	cases := map[string]struct {
		t          config.DataType
		want       string
		array      string // of two, with datatype string and json
		typed      string // of two, with the scalar's datatype, if other
		asText     string // the scalar with datatype string, if other
		unreadable bool
	}{
		"Boolean": {t: config.TypeBool, want: "true", array: "[true,true]"},
		"SByte":   {t: config.TypeInt8, want: "-128", array: "[-128,-128]"},
		"Byte":    {t: config.TypeUint8, want: "255", array: "[255,255]"},
		"Int16":   {t: config.TypeInt16, want: "-32768", array: "[-32768,-32768]"},
		"UInt16":  {t: config.TypeUint16, want: "65535", array: "[65535,65535]"},
		"Int32":   {t: config.TypeInt32, want: "-2147483648", array: "[-2147483648,-2147483648]"},
		"UInt32":  {t: config.TypeUint32, want: "4294967295", array: "[4294967295,4294967295]"},
		"Int64":   {t: config.TypeInt64, want: "9223372036854775807", array: "[9223372036854775807,9223372036854775807]"},
		"UInt64":  {t: config.TypeUint64, want: "18446744073709551615", array: "[18446744073709551615,18446744073709551615]"},
		"Float":   {t: config.TypeFloat32, want: "1.5", array: "[1.5,1.5]"},
		"Double":  {t: config.TypeFloat64, want: "0.1", array: "[0.1,0.1]"},
		"String":  {t: config.TypeString, want: "grün", array: `["grün","grün"]`},
		"DateTime": {t: config.TypeInt64, want: "1795788180123", typed: "[1795788180123,1795788180123]", asText: "2026-11-27T14:03:00.123Z",
			array: `["2026-11-27T14:03:00.123Z","2026-11-27T14:03:00.123Z"]`},
		"Guid": {t: config.TypeString, want: "72962B91-FA75-4AE6-8D28-B404DC7DAF63",
			array: `["72962B91-FA75-4AE6-8D28-B404DC7DAF63","72962B91-FA75-4AE6-8D28-B404DC7DAF63"]`},
		"ByteString":    {t: config.TypeBinary, want: "AAH+/w==", array: `["AAH+/w==","AAH+/w=="]`},
		"LocalizedText": {t: config.TypeString, want: "Druck", array: `["Druck","Druck"]`},
		"QualifiedName": {t: config.TypeString, want: "2:Temp", array: `["2:Temp","2:Temp"]`},
		"NodeId":        {t: config.TypeString, want: "ns=2;s=Temp", array: `["ns=2;s=Temp","ns=2;s=Temp"]`},
		"StatusCode": {t: config.TypeUint32, want: "2150891520", typed: "[2150891520,2150891520]", asText: "0x80340000 BadNodeIdUnknown",
			array: `["0x80340000 BadNodeIdUnknown","0x80340000 BadNodeIdUnknown"]`},
		"XmlElement": {t: config.TypeString, want: "<a/>", array: `["<a/>","<a/>"]`},
	}
	for _, mode := range []string{"subscribe", "poll"} {
		t.Run(mode, func(t *testing.T) {
			var vars []config.Variable
			for name, c := range cases {
				second := variable("second."+name, "ns=2;s=Array"+name, c.t)
				second.Address.Index = 2
				vars = append(vars, second, variable("typed."+name, "ns=2;s=Array"+name, c.t), variable("json."+name, "ns=2;s=Array"+name, config.TypeJSON),
					variable("json1."+name, "ns=2;s=Scalar"+name, config.TypeJSON), variable("scalar."+name, "ns=2;s=Scalar"+name, c.t),
					variable("text."+name, "nsu=urn:plant:line1;s=Scalar"+name, config.TypeString),
					variable("path."+name, "/Objects/2:Line/2:Scalar"+name, c.t),
					variable("array."+name, "ns=2;s=Array"+name, config.TypeString))
			}
			r := run(t, options{port: srv.cfg.Port, opts: none(), vars: vars, cfg: map[string]any{"mode": mode, "publishing": "50ms", "polling": "100ms"}})
			for name, c := range cases {
				r.waitValue("scalar."+name, c.want)
				r.waitValue("path."+name, c.want)
				r.waitValue("array."+name, c.array)
				r.waitValue("second."+name, c.want)
				r.waitValue("json."+name, c.array)
				if f, _ := r.last("json." + name); f.Value.Kind() != frame.KindArray {
					t.Errorf("%s with datatype json is %v", name, f.Value)
				}
				if numeric := c.t.Numeric() || c.t == config.TypeBool; numeric {
					want := c.array
					if c.typed != "" {
						want = c.typed
					}
					r.waitValue("typed."+name, want)
				}
				f, _ := r.last("json1." + name)
				if got := "[" + string(f.Value.AppendJSON(nil)) + "," + string(f.Value.AppendJSON(nil)) + "]"; got != c.array {
					t.Errorf("%s with datatype json: %s, expected the elements of %s", name, got, c.array)
				}
				text := c.want
				if c.asText != "" {
					text = c.asText
				}
				r.waitValue("text."+name, text)
				f, _ = r.last("scalar." + name)
				if c.t == config.TypeFloat64 && f.Value != frame.FloatValue(0.1) {
					t.Errorf("%s = %v", name, f.Value)
				}
			}
		})
	}
}

// Arrays of other shapes, elements of them, and enumerations as numbers and as text.
func TestArraysAndEnumerations(t *testing.T) {
	srv := shared(t)
	element := func(tag, node string, dt config.DataType, n int) config.Variable {
		v := variable(tag, node, dt)
		v.Address.Index = config.Index(n + 1)
		return v
	}
	scaled := variable("scaled", "ns=2;s=Matrix", config.TypeFloat64)
	scaled.Scale = "value * 2"
	r := run(t, options{port: srv.cfg.Port, opts: none(), cfg: map[string]any{"publishing": "50ms", "polling": "100ms"}, vars: []config.Variable{
		variable("series", "ns=2;s=Series", config.TypeUint64), variable("empty", "ns=2;s=Empty", config.TypeFloat64),
		variable("matrix", "ns=2;s=Matrix", config.TypeFloat64), scaled,
		element("row", "ns=2;s=Matrix", config.TypeFloat64, 1), element("last", "ns=2;s=Series", config.TypeUint64, 2),
		element("beyond", "ns=2;s=Series", config.TypeUint64, 3), element("none", "ns=2;s=Level", config.TypeUint16, 0),
		variable("number", "ns=2;s=State", config.TypeInt32), variable("name", "ns=2;s=State", config.TypeString),
		variable("names", "ns=2;s=States", config.TypeString), variable("numbers", "ns=2;s=States", config.TypeJSON),
	}})
	for tag, want := range map[string]string{
		"series": "[1,9007199254740993,18446744073709551615]", "empty": "[]", "last": "18446744073709551615",
		"matrix": "[[1,2.5,3],[4,5,6]]", "scaled": "[[2,5,6],[8,10,12]]", "row": "[4,5,6]",
		"number": "2", "name": "Running", "names": `["Off","Running","7"]`, "numbers": "[0,2,7]",
	} {
		r.waitValue(tag, want)
	}
	for tag, want := range map[string]string{"beyond": "there are 0 to 2", "none": "not an array"} {
		r.wait(tag+" is bad", patience, func() bool { f, ok := r.last(tag); return ok && f.Quality == frame.Bad })
		_, reasons := r.driver.(driver.Reasoner).Reasons()
		if got := reasons[tag].Text; !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
	read, err := r.driver.Read(t.Context(), "name")
	if err != nil || read.Value != frame.StringValue("Running") {
		t.Errorf("read now: %v, %v", read.Value, err)
	}
}
