package opcua

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Every built-in type comes as it is, by subscription and by reading.
func TestValues(t *testing.T) {
	srv := shared(t)
	cases := map[string]struct {
		t          config.DataType
		want       string
		array      string // of two, with datatype string
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
		"DateTime": {t: config.TypeInt64, want: "1795788180123", asText: "2026-11-27T14:03:00.123Z",
			array: `["2026-11-27T14:03:00.123Z","2026-11-27T14:03:00.123Z"]`},
		"Guid": {t: config.TypeString, want: "72962B91-FA75-4AE6-8D28-B404DC7DAF63",
			array: `["72962B91-FA75-4AE6-8D28-B404DC7DAF63","72962B91-FA75-4AE6-8D28-B404DC7DAF63"]`},
		"ByteString":    {t: config.TypeBinary, want: "AAH+/w==", array: `["AAH+/w==","AAH+/w=="]`},
		"LocalizedText": {t: config.TypeString, want: "Druck", array: `["Druck","Druck"]`},
		"QualifiedName": {t: config.TypeString, want: "2:Temp", array: `["2:Temp","2:Temp"]`},
		"NodeId":        {t: config.TypeString, want: "ns=2;s=Temp", array: `["ns=2;s=Temp","ns=2;s=Temp"]`},
		"StatusCode": {t: config.TypeUint32, want: "2150891520", asText: "0x80340000 BadNodeIdUnknown",
			array: `["0x80340000 BadNodeIdUnknown","0x80340000 BadNodeIdUnknown"]`},
		"XmlElement": {t: config.TypeString, want: "<a/>", array: `["<a/>","<a/>"]`},
	}
	for _, mode := range []string{"subscribe", "poll"} {
		t.Run(mode, func(t *testing.T) {
			var vars []config.Variable
			for name, c := range cases {
				vars = append(vars, variable("scalar."+name, "ns=2;s=Scalar"+name, c.t),
					variable("text."+name, "nsu=urn:plant:line1;s=Scalar"+name, config.TypeString),
					variable("path."+name, "/Objects/2:Line/2:Scalar"+name, c.t),
					variable("array."+name, "ns=2;s=Array"+name, config.TypeString))
			}
			r := run(t, options{port: srv.cfg.Port, opts: none(), vars: vars, cfg: map[string]any{"mode": mode, "publishing": "50ms", "polling": "100ms"}})
			for name, c := range cases {
				r.waitValue("scalar."+name, c.want)
				r.waitValue("path."+name, c.want)
				r.waitValue("array."+name, c.array)
				text := c.want
				if c.asText != "" {
					text = c.asText
				}
				r.waitValue("text."+name, text)
				f, _ := r.last("scalar." + name)
				if c.t == config.TypeFloat64 && f.Value != frame.FloatValue(0.1) {
					t.Errorf("%s = %v", name, f.Value)
				}
			}
		})
	}
}
