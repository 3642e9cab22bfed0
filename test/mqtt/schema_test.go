package mqtt

import (
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestPayloadSchema holds payloads of every kind of value against the schema that
// consumers are given, and nonsense too.
func TestPayloadSchema(t *testing.T) {
	schema, err := jsonschema.Compile("../../schemas/payload.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	b := &frame.Batch{FirstSeq: 41, Set: &frame.TagSet{Tags: []frame.Tag{{Name: "plant.a", Unit: "bar"}, {Name: "sys.gap"}}}}
	for i, v := range []frame.Value{{}, frame.BoolValue(true), frame.IntValue(-1), frame.UintValue(1 << 63), frame.FloatValue(1e-300),
		frame.StringValue("\"\n"), frame.BytesValue([]byte{0xff}), frame.ObjectValue(`{"from":1,"to":2}`), frame.ArrayValue(`[1,[null,"x"]]`)} {
		b.Frames = append(b.Frames, frame.Frame{Value: v, TS: int64(i) * 1e15, Tag: uint32(i % 2), Quality: frame.Quality(i % 3), Status: uint16(i % 2)})
	}
	b.Statuses = []string{"0x80340000 BadNodeIdUnknown"}
	payload := frame.NewJSONEncoder(frame.Milliseconds).AppendFrames([]byte{'['}, b)
	payload[len(payload)-1] = ']'
	check := func(p string) error {
		t.Helper()
		var v any
		if err := json.Unmarshal([]byte(p), &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	if err := check(string(payload)); err != nil {
		t.Errorf("%s\n%#v", payload, err)
	}
	e := frame.Envelope{Gateway: "gw", Epoch: "18a1", FirstSeq: 41, LastSeq: 49, PrevSeq: 40, ConfigRev: 7, Stream: "live", Replay: "r"}
	if err := check(string(e.AppendJSON(nil, payload))); err != nil {
		t.Errorf("in an envelope: %#v", err)
	}
	for _, bad := range []string{`{}`, `{"gw":"gw","epoch":"e","first_seq":1,"last_seq":1,"prev_seq":0,"config_rev":0,"frames":[{}]}`, `[{}]`, `[{"seq":0,"tag":"a","ts":1,"value":1,"quality":"good"}]`, `[{"seq":1,"tag":"a","ts":1.5,"value":1,"quality":"good"}]`,
		`[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"bad","status":""}]`, `[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"fine"}]`,
		`[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"good","unit":""}]`, `[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"good","x":1}]`} {
		if check(bad) == nil {
			t.Errorf("%s passes", bad)
		}
	}
}
