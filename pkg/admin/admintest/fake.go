// Package admintest is a small gateway for tests of what talks to the admin
// socket: a backend in memory, and a real server on a real socket.
package admintest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Gateway is two drivers, a connector, some tags and a log of 10,000 frames. Its
// fields may be changed before it serves; while it does, through the methods.
type Gateway struct {
	problems []*pb.Problem
	mu       sync.Mutex
	drivers  map[string]*pb.Driver
	tags     []*pb.Tag
	Log      []*frame.Batch
	paused   map[string]bool
	level    string
	calls    int // of Tags
	panics   bool
	busy     chan struct{}
	reloads  int // begun

	live   chan admin.TailPart
	events chan *pb.WatchConfigResponse
}

// Epoch is when everything here began.
func Epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func epoch() *timestamppb.Timestamp { return admin.Timestamp(Epoch()) }

// New returns a gateway.
func New() *Gateway {
	f := &Gateway{
		drivers: map[string]*pb.Driver{
			"press": {Id: "press", Kind: "static", Proto: "modbus", Endpoint: "plc1", State: "running", Since: epoch(), Points: 2, Polls: 41},
			"oven":  {Id: "oven", Kind: "static", Proto: "modbus", Endpoint: "bus1", State: "fault", Since: epoch(), Error: "dial tcp: refused"},
		},
		paused: map[string]bool{}, level: "info",
		live: make(chan admin.TailPart), events: make(chan *pb.WatchConfigResponse),
	}
	for i, name := range []string{"line.a", "line.b", "温度"} {
		f.tags = append(f.tags, &pb.Tag{Name: name, Driver: "press", Unit: "bar", Access: "RW", Datatype: "uint16", Quality: pb.QualityOf(frame.Good),
			Address: fmt.Sprintf("holding %d", i), Known: true, Value: pb.ValueOf(frame.IntValue(int64(i))), TsNs: Epoch().UnixNano(), Frames: 1})
	}
	set := &frame.TagSet{Driver: "press", Tags: []frame.Tag{{Name: "line.a", Unit: "bar"}, {Name: "line.b"}}}
	for seq := uint64(1); seq < 10_000; seq += 5000 {
		b := &frame.Batch{FirstSeq: seq, ConfigRev: 7, Set: set}
		for i := range 5000 {
			b.Frames = append(b.Frames, frame.Frame{Value: frame.IntValue(int64(i)), TS: Epoch().UnixNano() + int64(i), Tag: uint32(i % 2), Quality: frame.Quality(i % 3)})
		}
		f.Log = append(f.Log, b)
	}
	return f
}

// Live hands part to one client that tails.
func (f *Gateway) Live(part admin.TailPart) { f.live <- part }

// Event hands e to one client that watches the configuration.
func (f *Gateway) Event(e *pb.WatchConfigResponse) { f.events <- e }

// Panic makes the list of drivers panic.
func (f *Gateway) Panic() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.panics = true
}

// Busy makes reloads last until the function that it returns is called.
func (f *Gateway) Busy() (free func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = make(chan struct{})
	return sync.OnceFunc(func() { close(f.busy) })
}

// Reloads returns how many reloads have begun.
func (f *Gateway) Reloads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reloads
}

// TagCalls returns how often the tags were asked for.
func (f *Gateway) TagCalls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// SetTags replaces the tags, which must be sorted by name.
func (f *Gateway) SetTags(tags []*pb.Tag) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tags = tags
}

// Tick gives every tag a new value.
func (f *Gateway) Tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.tags {
		f.set(i, frame.IntValue(f.tags[i].Value.Frame().Int()+1))
	}
}

// set replaces tag i, which may be on its way to a client, by one with a new value.
func (f *Gateway) set(i int, v frame.Value) *pb.Tag {
	t := proto.CloneOf(f.tags[i])
	t.Value, t.TsNs, t.Frames = pb.ValueOf(v), t.TsNs+1, t.Frames+1
	f.tags[i] = t
	return t
}

// Backend returns every part.
func (f *Gateway) Backend() admin.Backend {
	return admin.Backend{
		Status: f.status, Endpoints: fakeEndpoints{}, Drivers: fakeDrivers{Gateway: f}, Tags: fakeTags{f}, Bus: fakeBus{f},
		Connectors: fakeConnectors{Gateway: f}, Config: fakeConfig{Gateway: f}, Diagnostics: fakeDiagnostics{Gateway: f}, Files: files,
	}
}

// Refuse makes the device of line.b refuse it, and be slow besides.
func (f *Gateway) Refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.set(1, frame.Value{})
	t.Quality, t.TsNs, t.Frames = pb.QualityOf(frame.Bad), 0, 1
	t.Reason = "refused: 0x02 illegal data address"
	t.Hint = "check address.addr (manuals count from 0 or from 1), or remove the tag"
	d := f.drivers["press"]
	d.Bad, d.Retries, d.LatencyP50Ms, d.LatencyP99Ms = 1, 3, 180.2, 301
	d.LastMinute = &pb.DriverMinute{Cycles: 113, Polls: 49}
	f.problems = []*pb.Problem{{Part: "driver", Name: "press", Text: "1 tag refused: line.b (holding 1): 0x02 illegal data address", Hint: t.Hint}}
}

func (f *Gateway) status(context.Context) (*pb.GetStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &pb.GetStatusResponse{Gateway: "gw-1", Tenant: "acme", Device: "line-1", State: "running", Started: epoch(), Problems: slices.Clone(f.problems)}, nil
}

type fakeEndpoints struct {
	pb.UnimplementedEndpointServiceServer
}

func (fakeEndpoints) ListEndpoints(context.Context, *pb.ListEndpointsRequest) (*pb.ListEndpointsResponse, error) {
	return &pb.ListEndpointsResponse{Endpoints: []*pb.Endpoint{
		{Id: "bus1", Url: "serial:///dev/ttyFAKE?baud=9600", State: "idle", Since: epoch(), Max: 1, Drivers: []string{"oven"}},
		{Id: "plc1", Url: "tcp://10.0.0.1:502", State: "up", Since: epoch(), Open: 1, Max: 1, Drivers: []string{"press"}},
	}}, nil
}

type fakeDrivers struct {
	pb.UnimplementedDriverServiceServer
	*Gateway
}

func (f fakeDrivers) ListDrivers(context.Context, *pb.ListDriversRequest) (*pb.ListDriversResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("fault in the backend")
	}
	return &pb.ListDriversResponse{Drivers: []*pb.Driver{proto.CloneOf(f.drivers["oven"]), proto.CloneOf(f.drivers["press"])}}, nil
}

func (f fakeDrivers) state(id, state string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.drivers[id]
	if d == nil {
		return fmt.Errorf("driver %q: %w", id, errkind.NotFound)
	}
	d.State = state
	return nil
}

func (f fakeDrivers) PauseDriver(_ context.Context, r *pb.PauseDriverRequest) (*pb.PauseDriverResponse, error) {
	return &pb.PauseDriverResponse{}, f.state(r.GetDriver(), "paused")
}

func (f fakeDrivers) ResumeDriver(_ context.Context, r *pb.ResumeDriverRequest) (*pb.ResumeDriverResponse, error) {
	return &pb.ResumeDriverResponse{}, f.state(r.GetDriver(), "running")
}

func (f fakeDrivers) RestartDriver(_ context.Context, r *pb.RestartDriverRequest) (*pb.RestartDriverResponse, error) {
	return &pb.RestartDriverResponse{}, f.state(r.GetDriver(), "starting")
}

func (f fakeDrivers) DiagnoseDriver(_ context.Context, r *pb.DiagnoseDriverRequest) (*pb.DiagnoseDriverResponse, error) {
	return &pb.DiagnoseDriverResponse{Facts: []*pb.Fact{{Name: "requests", Value: "2"}}}, f.state(r.GetDriver(), "running")
}

type fakeTags struct{ *Gateway }

// tagList is an [admin.TagList].
type tagList []*pb.Tag

func (l tagList) Len() int                      { return len(l) }
func (l tagList) Name(i int) string             { return l[i].Name }
func (l tagList) Version(i int) (int64, uint64) { return l[i].TsNs, l[i].Frames }
func (l tagList) Message(i int) *pb.Tag         { return l[i] }

func (f fakeTags) Tags(context.Context) (admin.TagList, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	return tagList(slices.Clone(f.tags)), nil
}

func (f fakeTags) find(name string) (int, error) {
	for i := range f.tags {
		if f.tags[i].Name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("tag %q: %w", name, errkind.NotFound)
}

func (f fakeTags) ReadTag(_ context.Context, r *pb.ReadTagRequest) (*pb.ReadTagResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.find(r.GetTag())
	if err != nil {
		return nil, err
	}
	t := f.tags[i]
	return &pb.ReadTagResponse{Raw: []byte{0, 7}, Value: t.Value, Quality: pb.QualityOf(frame.Good), TsNs: t.TsNs}, nil
}

func (f fakeTags) WriteTag(_ context.Context, r *pb.WriteTagRequest) (*pb.WriteTagResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.find(r.GetTag())
	if err != nil {
		return nil, err
	}
	t := f.set(i, r.GetValue().Frame())
	return &pb.WriteTagResponse{ReadBack: t.Value, TsNs: t.TsNs}, nil
}

type fakeBus struct{ *Gateway }

func (f fakeBus) Stats(context.Context) (*pb.GetBusStatsResponse, error) {
	return &pb.GetBusStatsResponse{Epoch: "0123456789ab0001", FirstSeq: 1, LastSeq: 10_000, DurableSeq: 9_990, RingUsed: 12, RingSize: 65536,
		WalBytes: 123_456, WalMaxBytes: 4 << 30, DiskBytes: 200_000, FreeBytes: 1 << 30, WriteAmplification: 1.2, Overflow: "spill",
		Consumers: []*pb.BusConsumer{{Name: "mqtt", AckSeq: 9_000, Lag: 990}, {Name: "old", Lag: 9_990, Parked: true, ParkedSince: epoch()}}}, nil
}

func (f fakeBus) Tail(ctx context.Context, _ frame.Filter, send func(admin.TailPart) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-f.live:
			if err := send(p); err != nil {
				return err
			}
		}
	}
}

func (f fakeBus) Replay(_ context.Context, r admin.Range, send func(admin.ReplayPart) error) error {
	m, err := r.Filter.Compile()
	if err != nil {
		return err
	}
	last := uint64(10_000)
	if r.ToSeq > 0 {
		last = min(last, r.ToSeq)
	}
	for _, b := range f.Log {
		part := b.Slice(max(r.FromSeq, 1), last)
		if part == nil {
			continue
		}
		if err := send(admin.ReplayPart{Batches: m.Split(nil, part), LastSeq: last}); err != nil {
			return err
		}
	}
	return nil
}

func (f fakeBus) ReplayTo(_ context.Context, _ admin.Range, connector string, _ float64, send func(*pb.ReplayToResponse) error) error {
	if connector != "mqtt" {
		return fmt.Errorf("connector %q: %w", connector, errkind.NotFound)
	}
	return send(&pb.ReplayToResponse{Replay: "r1", Topic: "t/replay/r1", Frames: 10, Seq: 10, LastSeq: 10})
}

func (f fakeBus) Export(_ context.Context, first, last uint64, w io.Writer) (*pb.ExportSummary, error) {
	_, err := w.Write(bytes.Repeat([]byte("0123456789"), 30_000))
	return &pb.ExportSummary{Frames: last - first + 1, Missing: []*pb.LogDamage{{FirstSeq: 5, LastSeq: 6, Text: "checksum"}}}, err
}

func (f fakeBus) Import(_ context.Context, r io.Reader) (*pb.ExportSummary, error) {
	data, err := io.ReadAll(r)
	if len(data)%10 != 0 {
		return nil, fmt.Errorf("export of %d bytes: %w: cut short", len(data), errkind.Invalid)
	}
	return &pb.ExportSummary{Frames: uint64(len(data))}, err
}

func (f fakeBus) Flush(context.Context) (*pb.FlushResponse, error) {
	return &pb.FlushResponse{DurableSeq: 10_000}, nil
}

func (f fakeBus) CollectGarbage(_ context.Context, gc *pb.CollectGarbageRequest) (*pb.CollectGarbageResponse, error) {
	if gc.GetKeepBytes() == 0 && !gc.GetForce() {
		return nil, fmt.Errorf("990 frames are not acknowledged: %w", errkind.Conflict)
	}
	return &pb.CollectGarbageResponse{Frames: 100, Bytes: gc.GetKeepBytes(), FirstSeq: 101, KeptBytes: 7, Blocked: 3, Consumers: []string{"mqtt"}}, nil
}

func (f fakeBus) Set(_ context.Context, key, value string) (*pb.SetBusSettingResponse, error) {
	if key != "wal_flush_ms" {
		return nil, fmt.Errorf("setting bus.%s: %w: expected wal_flush_ms", key, errkind.Invalid)
	}
	return &pb.SetBusSettingResponse{OldValue: "100", NewValue: value}, nil
}

func (f fakeBus) Check(context.Context) (*pb.CheckLogResponse, error) {
	return &pb.CheckLogResponse{Epoch: "0123456789ab0001", FirstSeq: 1, LastSeq: 10_000, Blocks: 2, Frames: 9_998, Bytes: 123_456,
		Damages: []*pb.LogDamage{{FirstSeq: 5, LastSeq: 6, Text: "checksum"}},
		Gaps:    []*pb.LogGap{{FirstSeq: 1, LastSeq: 2, Reason: "gc", Consumer: "mqtt", Time: epoch()}}}, nil
}

func (f fakeBus) Delivery(_ context.Context, r admin.Range) (*pb.GetDeliveryResponse, error) {
	m := &pb.GetDeliveryResponse{Frames: 100, FirstSeq: 1, LastSeq: 100, FirstTime: epoch(), LastTime: epoch(), LogSeq: 1, LogTime: epoch(),
		Consumers: []*pb.ConsumerDelivery{{Name: "mqtt", Delivered: 100, AckSeq: 990, AckTime: epoch()}}}
	if r.ToSeq > 100 {
		m.Frames, m.LastSeq, m.Consumers[0].Waiting, m.Consumers[0].Missed = r.ToSeq, r.ToSeq, r.ToSeq-102, 2
	}
	return m, nil
}

func (f fakeBus) Parked(context.Context) ([]*pb.ParkedMessage, error) {
	return []*pb.ParkedMessage{{Consumer: "mqtt", Id: 7, FirstSeq: 10, LastSeq: 19, Frames: 10, Topic: "plant/data",
		Reason: "the broker said 0x87: not authorized", Time: admin.Timestamp(time.Unix(1763888400, 0))}}, nil
}

func (f fakeBus) RetryParked(_ context.Context, consumer string, id uint64) error {
	return f.parked(consumer, id)
}

func (f fakeBus) DropParked(_ context.Context, consumer string, id uint64) error {
	return f.parked(consumer, id)
}

func (f fakeBus) parked(consumer string, id uint64) error {
	if consumer != "mqtt" || id != 7 {
		return fmt.Errorf("parked message %d of consumer %s: %w", id, consumer, errkind.NotFound)
	}
	return nil
}

func (f fakeBus) RemoveConsumer(_ context.Context, name string) error {
	if name != "old" {
		return fmt.Errorf("consumer %q: %w: its connector runs", name, errkind.Conflict)
	}
	return nil
}

type fakeConnectors struct {
	pb.UnimplementedConnectorServiceServer
	*Gateway
}

func (f fakeConnectors) ListConnectors(context.Context, *pb.ListConnectorsRequest) (*pb.ListConnectorsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := "up"
	if f.paused["mqtt"] {
		state = "paused"
	}
	return &pb.ListConnectorsResponse{Connectors: []*pb.Connector{{Name: "mqtt", Kind: "mqtt5", State: state, Since: epoch(), Peer: "127.0.0.1:1883",
		OutBytes: 12_897_484, OutMessages: 10, OutFrames: 160, BatchFramesP50: 16, BatchFramesP95: 32, RttAvgMs: 12.4, RttP95Ms: 20,
		AckSeq: 9_000, Lag: 990}}}, nil
}

func (f fakeConnectors) check(name string) error {
	if name != "mqtt" {
		return fmt.Errorf("connector %q: %w", name, errkind.NotFound)
	}
	return nil
}

func (f fakeConnectors) TestConnector(_ context.Context, r *pb.TestConnectorRequest) (*pb.TestConnectorResponse, error) {
	steps := []*pb.TestStep{{Name: "resolve", Ok: true, Ms: 1}, {Name: "connect", Text: "refused", Ms: 2}}
	return &pb.TestConnectorResponse{Steps: steps}, f.check(r.GetConnector())
}

func (f fakeConnectors) ReconnectConnector(_ context.Context, r *pb.ReconnectConnectorRequest) (*pb.ReconnectConnectorResponse, error) {
	return &pb.ReconnectConnectorResponse{}, f.check(r.GetConnector())
}

func (f fakeConnectors) pause(name string, paused bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused[name] = paused
	return f.check(name)
}

func (f fakeConnectors) PauseConnector(_ context.Context, r *pb.PauseConnectorRequest) (*pb.PauseConnectorResponse, error) {
	return &pb.PauseConnectorResponse{}, f.pause(r.GetConnector(), true)
}

func (f fakeConnectors) ResumeConnector(_ context.Context, r *pb.ResumeConnectorRequest) (*pb.ResumeConnectorResponse, error) {
	return &pb.ResumeConnectorResponse{}, f.pause(r.GetConnector(), false)
}

type fakeConfig struct {
	pb.UnimplementedConfigServiceServer
	*Gateway
}

func configStatus() *pb.ConfigStatus {
	return &pb.ConfigStatus{Source: "etcd", Rev: 7, Sha256: "ab12", State: "applied", Since: epoch(), Endpoints: 2, Drivers: 2, Variables: 3}
}

func (f fakeConfig) GetConfigStatus(context.Context, *pb.GetConfigStatusRequest) (*pb.GetConfigStatusResponse, error) {
	return &pb.GetConfigStatusResponse{Status: configStatus()}, nil
}

func (f fakeConfig) ListConfigHistory(_ context.Context, r *pb.ListConfigHistoryRequest) (*pb.ListConfigHistoryResponse, error) {
	list := []*pb.ConfigApply{{Rev: 7, Sha256: "ab12", State: "applied", Began: epoch(), DurationMs: 12.5, Impact: "variables +3"},
		{Rev: 6, State: "rejected", Error: "bad\nand worse", FailedIn: "prepare", Began: epoch()}}
	if limit := int(r.GetLimit()); limit > 0 {
		list = list[:min(limit, len(list))]
	}
	return &pb.ListConfigHistoryResponse{Applies: list}, nil
}

func (f fakeConfig) WatchConfig(_ *pb.WatchConfigRequest, out grpc.ServerStreamingServer[pb.WatchConfigResponse]) error {
	for {
		select {
		case <-out.Context().Done():
			return nil
		case e := <-f.events:
			if err := out.Send(e); err != nil {
				return err
			}
		}
	}
}

// ReloadConfig takes as long as somebody keeps the gateway busy.
func (f fakeConfig) ReloadConfig(ctx context.Context, _ *pb.ReloadConfigRequest) (*pb.ReloadConfigResponse, error) {
	f.mu.Lock()
	busy := f.busy
	f.reloads++
	f.mu.Unlock()
	if busy != nil {
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &pb.ReloadConfigResponse{Status: configStatus()}, nil
}

func (f fakeConfig) RollbackConfig(_ context.Context, r *pb.RollbackConfigRequest) (*pb.RollbackConfigResponse, error) {
	s := configStatus()
	s.Rev = r.GetToRev()
	return &pb.RollbackConfigResponse{Status: s}, nil
}

type fakeDiagnostics struct {
	pb.UnimplementedDiagnosticsServiceServer
	*Gateway
}

func (f fakeDiagnostics) GetLogLevel(context.Context, *pb.GetLogLevelRequest) (*pb.GetLogLevelResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &pb.GetLogLevelResponse{Level: f.level}, nil
}

func (f fakeDiagnostics) SetLogLevel(_ context.Context, r *pb.SetLogLevelRequest) (*pb.SetLogLevelResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.level
	f.level = r.GetLevel()
	return &pb.SetLogLevelResponse{OldLevel: old}, nil
}

func (f fakeDiagnostics) TraceEndpoint(r *pb.TraceEndpointRequest, out grpc.ServerStreamingServer[pb.TraceEndpointResponse]) error {
	if r.GetEndpoint() != "plc1" {
		return fmt.Errorf("endpoint %q: %w", r.GetEndpoint(), errkind.NotFound)
	}
	for i := range 100_000 { // far more than the queue holds
		e := &pb.TraceEndpointResponse{Time: epoch(), Connection: 1, Event: "send",
			Data: []byte{byte(i), byte(i >> 8), byte(i >> 16), 0, 0, 0, 0, 0, 0, 0, 0, 0}}
		if err := out.Send(e); err != nil {
			return err
		}
	}
	<-out.Context().Done()
	return nil
}

func files(context.Context) ([]admin.File, error) {
	return []admin.File{{Name: "../../gateway.yml", Data: []byte("password: '***'\n")}}, nil
}
