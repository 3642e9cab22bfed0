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

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Gateway is two drivers, a connector, some tags and a log of 10,000 frames. Its
// fields may be changed before it serves; while it does, through the methods.
type Gateway struct {
	problems []admin.Problem
	mu       sync.Mutex
	drivers  map[string]*admin.Driver
	tags     []admin.Tag
	Log      []*frame.Batch
	paused   map[string]bool
	level    string
	calls    int // of Tags
	panics   bool
	busy     chan struct{}
	reloads  int // begun

	live   chan admin.TailPart
	events chan admin.ConfigEvent
}

// Epoch is when everything here began.
func Epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// New returns a gateway.
func New() *Gateway {
	f := &Gateway{
		drivers: map[string]*admin.Driver{
			"press": {ID: "press", Kind: "static", Proto: "modbus", Endpoint: "plc1", State: "running", Since: Epoch(), Points: 2, Polls: 41},
			"oven":  {ID: "oven", Kind: "static", Proto: "modbus", Endpoint: "bus1", State: "fault", Since: Epoch(), Error: "dial tcp: refused"},
		},
		paused: map[string]bool{}, level: "info",
		live: make(chan admin.TailPart), events: make(chan admin.ConfigEvent),
	}
	for i, name := range []string{"line.a", "line.b", "温度"} {
		f.tags = append(f.tags, admin.Tag{Name: name, Driver: "press", Unit: "bar", Access: "RW", Datatype: "uint16",
			Address: fmt.Sprintf("holding %d", i), Known: true, Value: frame.IntValue(int64(i)), TS: Epoch().UnixNano(), Frames: 1})
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
func (f *Gateway) Event(e admin.ConfigEvent) { f.events <- e }

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
func (f *Gateway) SetTags(tags []admin.Tag) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tags = tags
}

// Tick gives every tag a new value.
func (f *Gateway) Tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.tags {
		t := &f.tags[i]
		t.Value, t.TS, t.Frames = frame.IntValue(t.Value.Int()+1), t.TS+1, t.Frames+1
	}
}

// Backend returns every part.
func (f *Gateway) Backend() admin.Backend {
	return admin.Backend{
		Status: fakeStatus{f}, Endpoints: fakeEndpoints{}, Drivers: fakeDrivers{f}, Tags: fakeTags{f}, Bus: fakeBus{f},
		Connectors: fakeConnectors{f}, Config: fakeConfig{f}, Diagnostics: fakeDiagnostics{f},
	}
}

// Refuse makes the device of line.b refuse it, and be slow besides.
func (f *Gateway) Refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &f.tags[1]
	t.Value, t.Quality, t.TS = frame.Value{}, frame.Bad, 0
	t.Reason = "refused: 0x02 illegal data address"
	t.Hint = "check address.addr (manuals count from 0 or from 1), or remove the tag"
	d := f.drivers["press"]
	d.Bad, d.Retries, d.LatencyP50Ms, d.LatencyP99Ms = 1, 3, 180.2, 301
	d.LastMinute = admin.DriverMinute{Cycles: 113, Polls: 49}
	f.problems = []admin.Problem{{Part: "driver", Name: "press", Text: "1 tag refused: line.b (holding 1): 0x02 illegal data address", Hint: t.Hint}}
}

type fakeStatus struct{ *Gateway }

func (f fakeStatus) Info(context.Context) (admin.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return admin.Info{Gateway: "gw-1", Tenant: "acme", Device: "line-1", State: "running", Started: Epoch(), Problems: f.problems}, nil
}

type fakeEndpoints struct{}

func (fakeEndpoints) List(context.Context) ([]admin.Endpoint, error) {
	return []admin.Endpoint{
		{ID: "bus1", URL: "serial:///dev/ttyFAKE?baud=9600", State: "idle", Since: Epoch(), Max: 1, Drivers: []string{"oven"}},
		{ID: "plc1", URL: "tcp://10.0.0.1:502", State: "up", Since: Epoch(), Open: 1, Max: 1, Drivers: []string{"press"}},
	}, nil
}

// ProbeModbus answers for unit 1 of plc1: registers 0x4145, 0x70A4.
func (fakeEndpoints) ProbeModbus(_ context.Context, endpoint string, q admin.ModbusQuestion) (admin.ModbusAnswer, error) {
	if endpoint != "plc1" {
		return admin.ModbusAnswer{}, fmt.Errorf("endpoint %q: %w", endpoint, admin.ErrNotFound)
	}
	a := admin.ModbusAnswer{Connect: time.Microsecond, Took: 3 * time.Millisecond, Addr: q.Addr, Count: q.Count, Hints: []string{"echo: drop"}}
	if q.Unit != 1 {
		a.Refusal = "wait for the answer: timeout"
		return a, nil
	}
	a.Data = bytes.Repeat([]byte{0x41, 0x45, 0x70, 0xA4}, int(q.Count+1)/2)[:2*q.Count]
	return a, nil
}

func (e fakeEndpoints) ScanModbus(ctx context.Context, endpoint string, q admin.ModbusQuestion, units []uint8, send func(admin.ModbusFound) error) error {
	for _, u := range units {
		q.Unit = u
		a, err := e.ProbeModbus(ctx, endpoint, q)
		if err != nil {
			return err
		}
		if err := send(admin.ModbusFound{Unit: u, Found: a.Refusal == "", Took: a.Took}); err != nil {
			return err
		}
	}
	return nil
}

type fakeDrivers struct{ *Gateway }

func (f fakeDrivers) List(context.Context) ([]admin.Driver, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("fault in the backend")
	}
	return []admin.Driver{*f.drivers["oven"], *f.drivers["press"]}, nil
}

func (f fakeDrivers) set(id, state string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.drivers[id]
	if d == nil {
		return fmt.Errorf("driver %q: %w", id, admin.ErrNotFound)
	}
	d.State = state
	return nil
}

func (f fakeDrivers) Pause(_ context.Context, id string) error   { return f.set(id, "paused") }
func (f fakeDrivers) Resume(_ context.Context, id string) error  { return f.set(id, "running") }
func (f fakeDrivers) Restart(_ context.Context, id string) error { return f.set(id, "starting") }
func (f fakeDrivers) Diagnose(_ context.Context, id string) ([]admin.Fact, error) {
	return []admin.Fact{{Name: "requests", Value: "2"}}, f.set(id, "running")
}

type fakeTags struct{ *Gateway }

func (f fakeTags) Tags(context.Context) ([]admin.Tag, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	return slices.Clone(f.tags), nil
}

func (f fakeTags) find(name string) (*admin.Tag, error) {
	for i := range f.tags {
		if f.tags[i].Name == name {
			return &f.tags[i], nil
		}
	}
	return nil, fmt.Errorf("tag %q: %w", name, admin.ErrNotFound)
}

func (f fakeTags) Read(_ context.Context, name string) (admin.Reading, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(name)
	if err != nil {
		return admin.Reading{}, err
	}
	return admin.Reading{Raw: []byte{0, 7}, Value: t.Value, TS: t.TS}, nil
}

func (f fakeTags) Write(_ context.Context, name string, v frame.Value) (admin.WriteResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(name)
	if err != nil {
		return admin.WriteResult{}, err
	}
	t.Value, t.TS, t.Frames = v, t.TS+1, t.Frames+1
	return admin.WriteResult{ReadBack: v, TS: t.TS}, nil
}

type fakeBus struct{ *Gateway }

func (f fakeBus) Stats(context.Context) (admin.BusStats, error) {
	return admin.BusStats{Epoch: "0123456789ab0001", FirstSeq: 1, LastSeq: 10_000, DurableSeq: 9_990, RingUsed: 12, RingSize: 65536,
		WALBytes: 123_456, WALMaxBytes: 4 << 30, DiskBytes: 200_000, FreeBytes: 1 << 30, WriteAmplification: 1.2, Overflow: "spill",
		Consumers: []admin.Consumer{{Name: "mqtt", AckSeq: 9_000, Lag: 990}, {Name: "old", Lag: 9_990, Parked: true, ParkedSince: Epoch()}}}, nil
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

func (f fakeBus) ReplayTo(_ context.Context, _ admin.Range, connector string, _ float64, send func(admin.ReplayProgress) error) error {
	if connector != "mqtt" {
		return fmt.Errorf("connector %q: %w", connector, admin.ErrNotFound)
	}
	return send(admin.ReplayProgress{Replay: "r1", Topic: "t/replay/r1", Frames: 10, Seq: 10, LastSeq: 10})
}

func (f fakeBus) Export(_ context.Context, first, last uint64, w io.Writer) (admin.ExportSummary, error) {
	_, err := w.Write(bytes.Repeat([]byte("0123456789"), 30_000))
	return admin.ExportSummary{Frames: last - first + 1, Missing: []admin.Damage{{FirstSeq: 5, LastSeq: 6, Text: "checksum"}}}, err
}

func (f fakeBus) Import(_ context.Context, r io.Reader) (admin.ExportSummary, error) {
	data, err := io.ReadAll(r)
	if len(data)%10 != 0 {
		return admin.ExportSummary{}, fmt.Errorf("export of %d bytes: %w: cut short", len(data), admin.ErrInvalid)
	}
	return admin.ExportSummary{Frames: uint64(len(data)), Missing: []admin.Damage{}}, err
}

func (f fakeBus) Flush(context.Context) (uint64, error) { return 10_000, nil }

func (f fakeBus) CollectGarbage(_ context.Context, gc admin.GC) (admin.GCResult, error) {
	if gc.KeepBytes == 0 && !gc.Force {
		return admin.GCResult{}, fmt.Errorf("990 frames are not acknowledged: %w", admin.ErrConflict)
	}
	return admin.GCResult{Frames: 100, Bytes: gc.KeepBytes, FirstSeq: 101, KeptBytes: 7, Blocked: 3, Consumers: []string{"mqtt"}}, nil
}

func (f fakeBus) Set(_ context.Context, key, value string) (admin.SettingChange, error) {
	if key != "wal_flush_ms" {
		return admin.SettingChange{}, fmt.Errorf("setting bus.%s: %w: expected wal_flush_ms", key, admin.ErrInvalid)
	}
	return admin.SettingChange{Old: "100", New: value}, nil
}

func (f fakeBus) Check(context.Context) (admin.CheckReport, error) {
	return admin.CheckReport{Epoch: "0123456789ab0001", FirstSeq: 1, LastSeq: 10_000, Blocks: 2, Frames: 9_998, Bytes: 123_456,
		Damages: []admin.Damage{{FirstSeq: 5, LastSeq: 6, Text: "checksum"}},
		Gaps:    []admin.Gap{{FirstSeq: 1, LastSeq: 2, Reason: "gc", Consumer: "mqtt", Time: Epoch()}}}, nil
}

func (f fakeBus) Parked(context.Context) ([]admin.Parked, error) {
	return []admin.Parked{{Consumer: "mqtt", ID: 7, FirstSeq: 10, LastSeq: 19, Frames: 10, Topic: "plant/data",
		Reason: "the broker said 0x87: not authorized", Time: time.Unix(1763888400, 0).UTC()}}, nil
}

func (f fakeBus) RetryParked(_ context.Context, consumer string, id uint64) error {
	return f.parked(consumer, id)
}

func (f fakeBus) DropParked(_ context.Context, consumer string, id uint64) error {
	return f.parked(consumer, id)
}

func (f fakeBus) parked(consumer string, id uint64) error {
	if consumer != "mqtt" || id != 7 {
		return fmt.Errorf("parked message %d of consumer %s: %w", id, consumer, admin.ErrNotFound)
	}
	return nil
}

func (f fakeBus) RemoveConsumer(_ context.Context, name string) error {
	if name != "old" {
		return fmt.Errorf("consumer %q: %w: its connector runs", name, admin.ErrConflict)
	}
	return nil
}

type fakeConnectors struct{ *Gateway }

func (f fakeConnectors) List(context.Context) ([]admin.Connector, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := "up"
	if f.paused["mqtt"] {
		state = "paused"
	}
	return []admin.Connector{{Name: "mqtt", Kind: "mqtt5", State: state, Since: Epoch(), Peer: "127.0.0.1:1883", OutBytes: 12_897_484,
		OutMessages: 10, OutFrames: 160, BatchFramesP50: 16, BatchFramesP95: 32, RTTAvgMs: 12.4, RTTP95Ms: 20, AckSeq: 9_000, Lag: 990}}, nil
}

func (f fakeConnectors) check(name string) error {
	if name != "mqtt" {
		return fmt.Errorf("connector %q: %w", name, admin.ErrNotFound)
	}
	return nil
}

func (f fakeConnectors) Test(_ context.Context, name string) ([]admin.TestStep, error) {
	return []admin.TestStep{{Name: "resolve", OK: true, Ms: 1}, {Name: "connect", Text: "refused", Ms: 2}}, f.check(name)
}
func (f fakeConnectors) Reconnect(_ context.Context, name string) error { return f.check(name) }
func (f fakeConnectors) SetPaused(_ context.Context, name string, paused bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused[name] = paused
	return f.check(name)
}

type fakeConfig struct{ *Gateway }

func (f fakeConfig) Status(context.Context) (admin.ConfigStatus, error) {
	return admin.ConfigStatus{Source: "etcd", Rev: 7, SHA256: "ab12", State: "applied", Since: Epoch(), Endpoints: 2, Drivers: 2, Variables: 3}, nil
}

func (f fakeConfig) History(_ context.Context, limit int) ([]admin.ConfigApply, error) {
	list := []admin.ConfigApply{{Rev: 7, SHA256: "ab12", State: "applied", Began: Epoch(), DurationMs: 12.5, Impact: "variables +3"},
		{Rev: 6, State: "rejected", Error: "bad\nand worse", FailedIn: "prepare", Began: Epoch()}}
	if limit > 0 {
		list = list[:min(limit, len(list))]
	}
	return list, nil
}

func (f fakeConfig) Watch(ctx context.Context, emit func(admin.ConfigEvent)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-f.events:
			emit(e)
		}
	}
}

// Reload takes as long as somebody keeps the gateway busy.
func (f fakeConfig) Reload(ctx context.Context) (admin.ConfigStatus, error) {
	f.mu.Lock()
	busy := f.busy
	f.reloads++
	f.mu.Unlock()
	if busy != nil {
		select {
		case <-busy:
		case <-ctx.Done():
			return admin.ConfigStatus{}, ctx.Err()
		}
	}
	return f.Status(ctx)
}
func (f fakeConfig) Rollback(ctx context.Context, rev uint64) (admin.ConfigStatus, error) {
	s, err := f.Status(ctx)
	s.Rev = rev
	return s, err
}

type fakeDiagnostics struct{ *Gateway }

func (f fakeDiagnostics) LogLevel(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.level, nil
}
func (f fakeDiagnostics) SetLogLevel(_ context.Context, level string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.level = level
	return nil
}
func (f fakeDiagnostics) Trace(ctx context.Context, endpoint string, emit func(admin.TraceEvent)) error {
	if endpoint != "plc1" {
		return fmt.Errorf("endpoint %q: %w", endpoint, admin.ErrNotFound)
	}
	for i := range 100_000 { // far more than the queue holds
		emit(admin.TraceEvent{Time: Epoch(), Connection: 1, Event: "send", Data: []byte{byte(i), byte(i >> 8), byte(i >> 16), 0, 0, 0, 0, 0, 0, 0, 0, 0}})
	}
	<-ctx.Done()
	return nil
}
func (f fakeDiagnostics) BundleFiles(context.Context) ([]admin.File, error) {
	return []admin.File{{Name: "../../gateway.yml", Data: []byte("password: '***'\n")}}, nil
}
