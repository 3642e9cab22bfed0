package frame

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// fullEnvelope has another value in every field.
func fullEnvelope() Envelope {
	var e Envelope
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("text \"" + v.Type().Field(i).Name + "\"")
		default:
			f.SetUint(1<<63 + uint64(i))
		}
	}
	return e
}

// TestEnvelopeJSON writes and reads envelopes, with all fields and with none that may
// be missing.
func TestEnvelopeJSON(t *testing.T) {
	for _, e := range []Envelope{fullEnvelope(), {Gateway: "gw", Epoch: "e", FirstSeq: 1, LastSeq: 2}} {
		p := e.AppendJSON(nil, []byte(`[{"seq":1}]`))
		got, frames, err := OpenJSON(p)
		if err != nil || *got != e || string(frames) != `[{"seq":1}]` {
			t.Errorf("%s: %+v, frames %s, %v", p, got, frames, err)
		}
		var plain map[string]any
		if err := json.Unmarshal(p, &plain); err != nil {
			t.Error(err)
		}
	}
	if e, frames, err := OpenJSON([]byte(" []")); e != nil || string(frames) != " []" || err != nil {
		t.Errorf("an array: %v, %s, %v", e, frames, err)
	}
	for _, bad := range []string{`{"gw":"x"}`, `{"gw":"x","frames":[],"more":1}`, `{"frames":[]} x`, `{"frames":`} {
		if _, _, err := OpenJSON([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestEnvelopeProto holds the envelope against protobuf's own library, which knows
// frame.proto.
func TestEnvelopeProto(t *testing.T) {
	want := fullEnvelope()
	b := jsonBatch()
	b.Frames[3].Value = StringValue("text") // protobuf's strings are UTF-8
	p := NewProtoEncoder(Milliseconds).AppendFrames(nil, b)
	p = want.AppendProto(p)
	msg := dynamicpb.NewMessage(framesType(t))
	if err := proto.Unmarshal(p, msg); err != nil {
		t.Fatal(err)
	}
	m := msg.Get(msg.Descriptor().Fields().ByName("envelope")).Message()
	v := reflect.ValueOf(want)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f == nil {
			t.Errorf("frame.proto has no %s", name)
		} else if got := m.Get(f).Interface(); got != v.Field(i).Interface() {
			t.Errorf("%s: %v, want %v", name, got, v.Field(i))
		}
	}
	got, err := OpenProto(p)
	if err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if frames, err := DecodeProto(p, Milliseconds); err != nil || len(frames) != len(jsonBatch().Frames) {
		t.Errorf("%d frames, %v", len(frames), err)
	}
	if e, err := OpenProto(NewProtoEncoder(Milliseconds).AppendFrames(nil, jsonBatch())); e != nil || err != nil {
		t.Errorf("without one: %+v, %v", e, err)
	}
}
