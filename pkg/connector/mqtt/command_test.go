package mqtt

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		payload string
		value   frame.Value
		want    string // in the error
	}{
		{`{"seq":123,"tag":"plantA.setpoint","value":42.0}`, frame.FloatValue(42), ""},
		{`{"seq":1,"tag":"a","value":-3}`, frame.IntValue(-3), ""},
		{`{"seq":1,"tag":"a","value":false}`, frame.BoolValue(false), ""},
		{` {"value":"x","tag":"é","seq":18446744073709551615} `, frame.StringValue("x"), ""},
		{``, frame.Value{}, "payload"},
		{`[]`, frame.Value{}, "payload"},
		{`{"seq":1,"tag":"a","value":1}{}`, frame.Value{}, "follows"},
		{`{"seq":-1,"tag":"a","value":1}`, frame.Value{}, "payload"},
		{`{"tag":"a","value":1}`, frame.Value{}, "seq is missing"},
		{`{"seq":1,"value":1}`, frame.Value{}, "key tag"},
		{`{"seq":1,"tag":"","value":1}`, frame.Value{}, "key tag"},
		{`{"seq":1,"tag":"a"}`, frame.Value{}, "value is missing"},
		{`{"seq":1,"tag":"a","value":null}`, frame.Value{}, "expected a number"},
		{`{"seq":1,"tag":"a","value":{}}`, frame.Value{}, "expected a number"},
		{`{"seq":1,"tag":"a","value":1e999}`, frame.Value{}, "64-bit float"},
		{`{"seq":1,"tag":"a","value":1,"x":1}`, frame.Value{}, `"x"`},
		{strings.Repeat(" ", maxCommand+1), frame.Value{}, "at most"},
	} {
		_, _, v, err := parseCommand([]byte(c.payload))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want an error with %q", c.payload, err, c.want)
		}
		if err == nil && v != c.value {
			t.Errorf("%s: value %v, want %v", c.payload, v, c.value)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"seq":123,"tag":"plantA.setpoint","value":42.0}`))
	f.Add([]byte(`{"seq":1,"tag":"a","value":"x"}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		_, tag, v, err := parseCommand(p)
		if err != nil {
			return
		}
		if tag == "" || v.IsNone() || v.Kind() == frame.KindObject || v.Kind() == frame.KindArray {
			t.Errorf("%q was taken as %q = %v", p, tag, v)
		}
		if again, err := frame.ParseJSONValue(v.AppendJSON(nil)); err != nil || !sameValue(again, v) {
			t.Errorf("%v is stored as %s, which reads as %v (%v)", v, v.AppendJSON(nil), again, err)
		}
	})
}
