package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func pause(ctx context.Context, c *admin.Client, id string) error {
	_, err := c.Drivers.PauseDriver(ctx, &pb.PauseDriverRequest{Driver: id})
	return err
}

func setLevel(ctx context.Context, c *admin.Client, level string) error {
	_, err := c.Diagnostics.SetLogLevel(ctx, &pb.SetLogLevelRequest{Level: level})
	return err
}

func trace(ctx context.Context, c *admin.Client, endpoint string, show func(*pb.TraceEndpointResponse) error) error {
	return admin.Receive(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[pb.TraceEndpointResponse], error) {
		return c.Diagnostics.TraceEndpoint(ctx, &pb.TraceEndpointRequest{Endpoint: endpoint})
	}, show)
}

// watch watches tags; interval 0 is the server's.
func watch(ctx context.Context, c *admin.Client, glob string, interval time.Duration, show func(*pb.WatchTagsResponse) error) error {
	r := &pb.WatchTagsRequest{Glob: glob}
	if interval != 0 {
		r.Interval = durationpb.New(interval)
	}
	return admin.Receive(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchTagsResponse], error) {
		return c.Tags.WatchTags(ctx, r)
	}, show)
}

// TestQuestionsAreBounded: a question cannot hold a line for long, nor be larger than a
// person would write it.
func TestQuestionsAreBounded(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	c := pb.NewEndpointServiceClient(rawConn(t, s))
	many := map[string]string{}
	for i := range 33 {
		many[fmt.Sprint("option", i)] = ""
	}
	for name, r := range map[string]*pb.AskEndpointRequest{
		"unit":          {Ability: "probe", Options: map[string]string{"unit": "256"}},
		"address":       {Ability: "probe", Options: map[string]string{"read": "holding:65536"}},
		"long timeout":  {Ability: "probe", Options: map[string]string{"timeout": "1m"}},
		"short timeout": {Ability: "probe", Options: map[string]string{"timeout": "-1s"}},
		"long scan":     {Ability: "scan", Options: map[string]string{"timeout": "2s"}},
		"no units":      {Ability: "scan", Options: map[string]string{"units": ""}},
		"too many":      {Ability: "scan", Options: map[string]string{"units": "0-255,1"}},
		"not shared":    {Ability: "scan", Options: map[string]string{"line-settings": "true"}},
		"not known":     {Ability: "probe", Options: map[string]string{"units": "1"}},
		"no ability":    {Ability: "write"},
		"options":       {Ability: "probe", Options: many},
		"long":          {Ability: "probe", Options: map[string]string{"read": strings.Repeat("4", 5000)}},
	} {
		r.Endpoint, r.Protocol = "plc1", "modbus"
		stream, err := c.AskEndpoint(t.Context(), r)
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatusSumsUpAndNamesProblems(t *testing.T) {
	c := admintest.Dial(t, admintest.Start(t, admintest.New().Backend()))
	st, err := c.Status.GetStatus(t.Context(), &pb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if st.Gateway != "gw-1" || st.State != "running" || st.ConfigRev != 7 || !admin.Time(st.Started).Equal(admintest.Epoch()) || st.Pid == 0 {
		t.Errorf("status %+v", st)
	}
	wantParts := []*pb.PartCount{{Part: "connectors", State: "up", Count: 1}, {Part: "drivers", State: "fault", Count: 1},
		{Part: "drivers", State: "running", Count: 1}, {Part: "endpoints", State: "idle", Count: 1}, {Part: "endpoints", State: "up", Count: 1}}
	if diff := cmp.Diff(wantParts, st.Parts, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, p := range st.Problems {
		names = append(names, p.Part+" "+p.Name)
	}
	if got := strings.Join(names, ", "); got != "bus old, driver oven" {
		t.Errorf("problems: %s", got)
	}
}

func TestMissingPartsSaySo(t *testing.T) {
	c := admintest.Dial(t, admintest.Start(t, admin.Backend{}))
	ctx := t.Context()
	calls := map[string]func() error{
		"endpoints": func() error { _, err := c.Endpoints.ListEndpoints(ctx, &pb.ListEndpointsRequest{}); return err },
		"drivers": func() error {
			_, err := c.Drivers.RestartDriver(ctx, &pb.RestartDriverRequest{Driver: "x"})
			return err
		},
		"tags":  func() error { _, err := c.Tags.List(ctx, ""); return err },
		"watch": func() error { return watch(ctx, c, "", 0, func(*pb.WatchTagsResponse) error { return nil }) },
		"bus":   func() error { _, err := c.Bus.Flush(ctx); return err },
		"tail":  func() error { return c.Bus.Tail(ctx, frame.Filter{}, func(admin.TailPart) error { return nil }) },
		"connectors": func() error {
			_, err := c.Connectors.ReconnectConnector(ctx, &pb.ReconnectConnectorRequest{})
			return err
		},
		"config":    func() error { _, err := c.Config.ReloadConfig(ctx, &pb.ReloadConfigRequest{}); return err },
		"log level": func() error { return setLevel(ctx, c, "info") },
		"trace":     func() error { return trace(ctx, c, "plc1", nil) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, errkind.Unsupported) || !strings.Contains(err.Error(), "this gateway has no ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Status.GetStatus(ctx, &pb.GetStatusRequest{}); err != nil {
		t.Errorf("status needs no part: %v", err)
	}
}

func TestErrorsKeepTheirKindAndText(t *testing.T) {
	f := admintest.New()
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	ctx := t.Context()
	noPart := func(admin.ReplayPart) error { return nil }
	for _, tc := range []struct {
		name string
		err  error
		kind error
		text string
	}{
		{"not found", pause(ctx, c, "nope"), errkind.NotFound, `driver "nope": not found`},
		{"conflict", c.Bus.RemoveConsumer(ctx, "mqtt"), errkind.Conflict, "its connector runs"},
		{"invalid level", setLevel(ctx, c, "loud"), errkind.Invalid, "expected debug, info, warn, error"},
		{"invalid glob", watch(ctx, c, "[", 0, nil), errkind.Invalid, "expected a glob"},
		{"invalid interval", watch(ctx, c, "", time.Millisecond, nil), errkind.Invalid, "expected 100ms to 1h"},
		{"invalid filter", c.Bus.Replay(ctx, admin.Range{Filter: frame.Filter{Tags: []string{"["}}}, noPart), errkind.Invalid, "expected a glob"},
		{"invalid speed", c.Bus.ReplayTo(ctx, admin.Range{}, "mqtt", -1, nil), errkind.Invalid, "speed -1"},
		{"stream's error", c.Bus.ReplayTo(ctx, admin.Range{}, "nope", 0, nil), errkind.NotFound, `connector "nope"`},
		{"trace", trace(ctx, c, "nope", nil), errkind.NotFound, `endpoint "nope"`},
		{"profile", c.Diagnostics.Profile(ctx, "nope", 0, nil), errkind.Invalid, "expected cpu, heap"},
	} {
		if !errors.Is(tc.err, tc.kind) || !strings.Contains(tc.err.Error(), tc.text) {
			t.Errorf("%s: got %q, want kind %q and text %q", tc.name, tc.err, tc.kind, tc.text)
		}
	}
}

// timedOut is a configuration whose rollback meets a time limit of its own.
type timedOut struct{ pb.ConfigServiceServer }

func (timedOut) RollbackConfig(context.Context, *pb.RollbackConfigRequest) (*pb.RollbackConfigResponse, error) {
	return nil, fmt.Errorf("rev 25 does not run: not done within 10s: %w", context.DeadlineExceeded)
}

// A time limit that the gateway tells of is its answer, not its silence.
func TestATimeOutInTheGatewayIsAnAnswer(t *testing.T) {
	b := admintest.New().Backend()
	b.Config = timedOut{b.Config}
	_, err := admintest.Dial(t, admintest.Start(t, b)).Config.RollbackConfig(t.Context(), &pb.RollbackConfigRequest{})
	if unreachable := (*admin.UnreachableError)(nil); errors.As(err, &unreachable) || err == nil || !strings.Contains(err.Error(), "rev 25 does not run") {
		t.Errorf("got %v", err)
	}
}

func TestAPanicEndsTheCallNotTheGateway(t *testing.T) {
	f := admintest.New()
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	f.Panic()
	if _, err := c.Drivers.ListDrivers(t.Context(), &pb.ListDriversRequest{}); err == nil || !strings.Contains(err.Error(), "fault in this call") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Endpoints.ListEndpoints(t.Context(), &pb.ListEndpointsRequest{}); err != nil {
		t.Errorf("the server is gone: %v", err)
	}
}

func TestMutatingCallsAreAudited(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	c := admintest.Dial(t, s)
	ctx := t.Context()
	if _, err := c.Tags.WriteTag(ctx, &pb.WriteTagRequest{Tag: "line.a", Value: pb.ValueOf(frame.StringValue("12"))}); err != nil {
		t.Fatal(err)
	}
	if err := pause(ctx, c, "nope"); err == nil {
		t.Fatal("no error")
	}
	if _, err := c.Drivers.ListDrivers(ctx, &pb.ListDriversRequest{}); err != nil { // reads are not audited
		t.Fatal(err)
	}
	if err := c.Bus.ReplayTo(ctx, admin.Range{FromSeq: 3}, "mqtt", 1, func(*pb.ReplayToResponse) error { return nil }); err != nil {
		t.Fatal(err)
	}
	got := s.Audits()
	if len(got) != 3 {
		t.Fatalf("audited: %+v", got)
	}
	for i, want := range []struct{ method, code, request string }{
		{"TagService/WriteTag", "OK", `"12"`},
		{"DriverService/PauseDriver", "NotFound", `"nope"`},
		{"BusService/ReplayTo", "OK", `"mqtt"`},
	} {
		r := got[i]
		if r.Method != want.method || r.Code != want.code || !strings.Contains(r.Request, want.request) {
			t.Errorf("record %+v, want %+v", r, want)
		}
		if r.Peer.PID == 0 || r.User == "" || r.Time.IsZero() {
			t.Errorf("record %+v does not say who", r)
		}
	}
}

func TestReplaySendsAllInOrder(t *testing.T) {
	f := admintest.New()
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	next, last := uint64(100), uint64(0)
	err := c.Bus.Replay(t.Context(), admin.Range{FromSeq: 100, ToSeq: 9_900}, func(p admin.ReplayPart) error {
		for _, b := range p.Batches {
			for i := range b.Frames {
				src := f.Log[(next-1)/5000]
				j := (next - 1) % 5000
				want, got := &src.Frames[j], &b.Frames[i]
				if b.FirstSeq+uint64(i) != next || got.Value != want.Value || got.TS != want.TS || got.Quality != want.Quality ||
					*b.Tag(i) != *src.Tag(int(j)) || b.ConfigRev != src.ConfigRev || b.Set.Driver != src.Set.Driver {
					t.Fatalf("frame %d is %+v, want %+v", next, got, want)
				}
				next++
			}
		}
		last = p.LastSeq
		return nil
	})
	if err != nil || next != 9_901 || last != 9_900 {
		t.Errorf("next %d, last %d, error %v", next, last, err)
	}
}

func TestExportAndImport(t *testing.T) {
	b := admintest.New().Backend()
	c := admintest.Dial(t, admintest.Start(t, b))
	ctx := t.Context()
	var file bytes.Buffer
	sum, err := c.Bus.Export(ctx, 11, 20, &file)
	if err != nil || sum.Frames != 10 || len(sum.Missing) != 1 || file.Len() != 300_000 {
		t.Fatalf("export: %+v, %d bytes, %v", sum, file.Len(), err)
	}
	if sum, err = c.Bus.Import(ctx, bytes.NewReader(file.Bytes())); err != nil || sum.Frames != 300_000 {
		t.Errorf("import: %+v, %v", sum, err)
	}
	if _, err = c.Bus.Import(ctx, bytes.NewReader(file.Bytes()[:123_456])); !errors.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "123456 bytes") {
		t.Errorf("import of half a file: %v", err)
	}
	broken := errors.New("unreadable")
	if _, err := c.Bus.Import(ctx, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("import of an unreadable file: %v", err)
	}
}

func TestStopEndsStreams(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	c := admintest.Dial(t, s)
	ended := make(chan error, 1)
	started := make(chan struct{}, 1)
	go func() {
		ended <- watch(t.Context(), c, "", 0, func(*pb.WatchTagsResponse) error {
			select {
			case started <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	<-started
	began := time.Now()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("stopping took %v", d)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("the watch ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the watch goes on")
	}
	var gone *admin.UnreachableError
	if _, err := admin.Dial(t.Context(), s.Socket); !errors.As(err, &gone) {
		t.Errorf("dial after the stop: %v", err)
	}
}
