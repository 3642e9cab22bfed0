package adminpb_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
)

// notPrinted are messages that no command prints as they are.
const notPrinted = " Batch FrameFilter ReplayRange AskItem AskReport AskStep TagInfo Value PartCount Problem DriverMinute LogDamage LogGap ExportSummary " +
	"ListEndpointsResponse AskEndpointResponse ListDriversResponse PauseDriverResponse ResumeDriverResponse " +
	"RestartDriverResponse DiagnoseDriverResponse ListTagsResponse WatchTagsResponse TailResponse ReplayResponse ExportResponse ImportResponse " +
	"RemoveConsumerResponse ListParkedResponse RetryParkedResponse DropParkedResponse ListConnectorsResponse TestConnectorResponse " +
	"ReconnectConnectorResponse PauseConnectorResponse ResumeConnectorResponse GetConfigStatusResponse ListConfigHistoryResponse " +
	"ReloadConfigResponse RollbackConfigResponse SetLogLevelResponse GetProfileResponse GetBundleResponse "

// TestEveryFieldIsShown fills every field of every message that is printed: each is
// in the JSON, under the name and in the order of the schema, and not zero.
func TestEveryFieldIsShown(t *testing.T) {
	seen := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		name := mt.Descriptor().FullName()
		short := string(name.Name())
		if name.Parent() != "edge.admin.v1" || strings.HasSuffix(short, "Request") || strings.Contains(notPrinted, " "+short+" ") {
			return true
		}
		seen++
		m := admintest.Full(mt.New().Interface())
		if _, ok := m.(json.Marshaler); !ok {
			t.Errorf("%s: give it a MarshalJSON, or name it as not printed", name)
			return true
		}
		checkShown(t, m)
		return true
	})
	if seen < 20 {
		t.Errorf("%d messages", seen)
	}
}

func checkShown(t *testing.T, m proto.Message) {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name, _ := proto.GetExtension(fields.Get(i).Options(), pb.E_ShownAs).(string)
		if name == "" {
			name = string(fields.Get(i).Name())
		}
		if name != "-" {
			want = append(want, name)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		got = append(got, key.(string))
		if n, ok := value.(json.Number); value == nil || value == "" || value == false || ok && n == "0" {
			t.Errorf("%s: %s is %v", m.ProtoReflect().Descriptor().FullName(), key, value)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: %v, want %v", m.ProtoReflect().Descriptor().FullName(), got, want)
	}
}

// lastMinute is what a driver shows of a minute of which it knows nothing.
type lastMinute struct{}

// MarshalJSON implements [json.Marshaler].
func (lastMinute) MarshalJSON() ([]byte, error) {
	var shown struct {
		LastMinute json.RawMessage `json:"last_minute"`
	}
	text, err := json.Marshal(&pb.Driver{})
	if err == nil {
		err = json.Unmarshal(text, &shown)
	}
	return shown.LastMinute, err
}

// TestJSON holds what is particular: numbers of 64 bits are numbers, and what is empty
// is there or not as the schema says.
func TestJSON(t *testing.T) {
	for want, m := range map[string]json.Marshaler{
		`{"name":"","ack_seq":18446744073709551615,"lag":0,"parked":false}`:                        &pb.BusConsumer{AckSeq: 1<<64 - 1},
		`{"cycles":0,"overruns":0,"polls":0,"errors":0,"retries":0}`:                               lastMinute{},
		`{"tag":"a<b","driver":"","value":null,"access":"","datatype":"","address":"","frames":0}`: &pb.Tag{Name: "a<b"},
		`{"tag":"a","driver":"","value":{"x":1},"quality":"good","time":"1970-01-01T00:00:00.000000001Z","access":"","datatype":"","address":"","frames":0}`: &pb.Tag{
			Name: "a", Known: true, Value: &pb.Value{Kind: &pb.Value_Object{Object: `{"x":1}`}}, Quality: pb.Quality_QUALITY_GOOD, TsNs: 1},
		`{"value":null,"quality":"bad","raw":"00ff"}`:        &pb.ReadTagResponse{Raw: []byte{0, 255}, Quality: pb.Quality_QUALITY_BAD},
		`{"read_back":1.5}`:                                  &pb.WriteTagResponse{ReadBack: &pb.Value{Kind: &pb.Value_Float{Float: 1.5}}},
		`{"connection":0,"event":"send"}`:                    &pb.TraceEndpointResponse{Event: "send"},
		`{"old":"1","new":"2"}`:                              &pb.SetBusSettingResponse{OldValue: "1", NewValue: "2"},
		`{"version":"","go":"","platform":"","api_minor":3}`: &pb.GetVersionResponse{ApiMinor: 3},
		`{"frames":0,"bytes":0,"first_seq":0,"kept_bytes":0,"unacked":0,"blocked":0,"consumers":[]}`: &pb.CollectGarbageResponse{},
	} {
		got := &bytes.Buffer{}
		enc := json.NewEncoder(got) // as the commands do
		enc.SetEscapeHTML(false)
		if err := enc.Encode(m); err != nil || strings.TrimSpace(got.String()) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
