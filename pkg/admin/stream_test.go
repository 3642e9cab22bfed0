package admin_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// rawConn is a gRPC connection without our client.
func rawConn(t testing.TB, s *admintest.Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///admin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.Socket)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// manyTags are n tags of one driver.
func manyTags(n int) []*pb.Tag {
	tags := make([]*pb.Tag, n)
	for i := range tags {
		tags[i] = &pb.Tag{Name: fmt.Sprintf("tag.%06d", i), Driver: "press", Known: true, Value: pb.ValueOf(frame.IntValue(0)), TsNs: 1, Frames: 1}
	}
	return tags
}

func TestListIsWholeWhateverItsSize(t *testing.T) {
	f := admintest.New()
	tags := manyTags(25_000)
	f.SetTags(tags)
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	got, err := c.Tags.List(t.Context(), "")
	if err != nil || len(got) != len(tags) || got[24_999].Name != tags[24_999].Name {
		t.Fatalf("%d tags, %v", len(got), err)
	}
	if got, err = c.Tags.List(t.Context(), "tag.00001?"); err != nil || len(got) != 10 {
		t.Errorf("glob: %d tags, %v", len(got), err)
	}
	if got, err = c.Tags.List(t.Context(), "none"); err != nil || len(got) != 0 || got == nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

// TestLongTextsCanBeListed: a device that sends long texts keeps nobody from listing tags.
func TestLongTextsCanBeListed(t *testing.T) {
	f := admintest.New()
	tags := manyTags(300)
	text := pb.ValueOf(frame.StringValue(strings.Repeat("x", 300<<10)))
	for i := range tags {
		tags[i].Value = text
	}
	f.SetTags(tags)
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	if got, err := c.Tags.List(t.Context(), ""); err != nil || len(got) != len(tags) {
		t.Errorf("%d tags, %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	err := watch(ctx, c, "", 100*time.Millisecond, func(ch *pb.WatchTagsResponse) error {
		if size := proto.Size(ch); size > 2<<20 {
			t.Errorf("a message of %d bytes", size)
		}
		if seen += len(ch.Tags); seen >= len(tags) {
			cancel()
		}
		return nil
	})
	if err != nil || seen != len(tags) {
		t.Errorf("%d tags are watched, %v", seen, err)
	}
}

func TestWatchSendsWhatChanged(t *testing.T) {
	f := admintest.New()
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err := watch(ctx, c, "line.*", 100*time.Millisecond, func(ch *pb.WatchTagsResponse) error {
		for _, g := range ch.Tags {
			got = append(got, g.Name+"="+g.Value.Frame().String())
		}
		switch len(got) {
		case 2: // a tag that matches and one that does not
			for _, name := range []string{"line.b", "温度"} {
				if _, err := c.Tags.WriteTag(ctx, &pb.WriteTagRequest{Tag: name, Value: pb.ValueOf(frame.IntValue(7))}); err != nil {
					return err
				}
			}
		case 3: // then another table, as after a change of the configuration
			f.SetTags([]*pb.Tag{{Name: "line.a", Value: pb.ValueOf(frame.IntValue(0)), TsNs: admintest.Epoch().UnixNano(), Frames: 1},
				{Name: "line.ab", Value: pb.ValueOf(frame.IntValue(3)), TsNs: 5}, {Name: "other", TsNs: 5}})
		case 4:
			cancel()
		}
		return nil
	})
	if want := []string{"line.a=0", "line.b=1", "line.b=7", "line.ab=3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// TestStalledWatchersCostNothing has 100 clients watch 10,000 tags that all
// change, half of them without ever reading: the others get every interval, the
// backend is asked no more than ten times a second, and memory stays bounded.
func TestStalledWatchersCostNothing(t *testing.T) {
	f := admintest.New()
	f.SetTags(manyTags(10_000))
	s := admintest.Start(t, f.Backend())
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()

	for range 50 {
		stream, err := pb.NewTagServiceClient(rawConn(t, s)).WatchTags(ctx, &pb.WatchTagsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil { // it has begun; from here on it stalls
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	updates := make([]int, 50)
	for i := range updates {
		c := admintest.Dial(t, s)
		clients.Go(func() {
			err := watch(ctx, c, "tag.00000?", 0, func(ch *pb.WatchTagsResponse) error {
				mu.Lock()
				defer mu.Unlock()
				updates[i] += len(ch.Tags)
				return nil
			})
			if err != nil {
				t.Errorf("watcher: %v", err)
			}
		})
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	calls, began := f.TagCalls(), time.Now()
	for time.Since(began) < 3*time.Second {
		f.Tick()
		time.Sleep(100 * time.Millisecond) // the values of the simulated plant move
	}
	calls = f.TagCalls() - calls
	runtime.GC()
	runtime.ReadMemStats(&after)
	if limit := int(time.Since(began).Seconds()*10) + 2; calls > limit {
		t.Errorf("the backend was asked %d times, at most %d expected", calls, limit)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	cancel()
	clients.Wait()
	for i, n := range updates {
		if n < 2*10 { // the first picture, and a change of each tag at least once
			t.Errorf("watcher %d was shown %d values", i, n)
		}
	}
}

func TestTail(t *testing.T) {
	f := admintest.New()
	s := admintest.Start(t, f.Backend())
	c := admintest.Dial(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go f.Live(admin.TailPart{Batches: f.Log, Dropped: 3})
	n := 0
	err := c.Bus.Tail(ctx, frame.Filter{Tags: []string{"line.*"}}, func(p admin.TailPart) error {
		if p.Dropped != 3 {
			t.Errorf("dropped %d", p.Dropped)
		}
		if n += frame.CountFrames(p.Batches); n == 10_000 {
			cancel()
		}
		return nil
	})
	if err != nil || n != 10_000 {
		t.Errorf("%d frames, %v", n, err)
	}
	if got := metric(t, s, "admin_stream_dropped_total", "tail"); got != 3 {
		t.Errorf("%v frames counted as dropped, want 3", got)
	}
	stop := errors.New("terminal gone")
	f = admintest.New() // the tail above may not have noticed yet that nobody listens
	c = admintest.Dial(t, admintest.Start(t, f.Backend()))
	go f.Live(admin.TailPart{Batches: f.Log})
	if err := c.Bus.Tail(t.Context(), frame.Filter{}, func(admin.TailPart) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestASlowTracerLosesEventsAndIsTold(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	c := admintest.Dial(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got, dropped uint64
	err := trace(ctx, c, "plc1", func(e *pb.TraceEndpointResponse) error {
		if dropped = e.Dropped; e.Event == "send" {
			got += uint64(len(e.Data)) + 64
		}
		if total := uint64(100_000 * (12 + 64)); got+dropped >= total {
			cancel()
		}
		return nil
	})
	if err != nil || dropped == 0 || got == 0 {
		t.Errorf("got %d, dropped %d, %v", got, dropped, err)
	}
	if n := metric(t, s, "admin_stream_dropped_total", "trace"); n != float64(dropped) {
		t.Errorf("metric says %v dropped, the client was told %d", n, dropped)
	}
}

// metric returns a counter's value by name and one label's value.
func metric(t *testing.T, s *admintest.Server, name, label string) float64 {
	t.Helper()
	families, err := s.Gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

func TestConfigEvents(t *testing.T) {
	f := admintest.New()
	c := admintest.Dial(t, admintest.Start(t, f.Backend()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	want := &pb.WatchConfigResponse{Time: admin.Timestamp(admintest.Epoch()), Rev: 8, Sha256: "cd", State: "DrainEP", Text: "drivers ~1"}
	go f.Event(proto.CloneOf(want))
	var got *pb.WatchConfigResponse
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchConfigResponse], error) {
		return c.Config.WatchConfig(ctx, &pb.WatchConfigRequest{})
	}
	err := admin.Receive(ctx, open, func(e *pb.WatchConfigResponse) error {
		got = e
		cancel()
		return nil
	})
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCallsAreBounded(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	c := admintest.Dial(t, s)
	refused := 0
	for range 150 { // the burst is 100
		if err := pause(t.Context(), c, "press"); errors.Is(err, errkind.TooMany) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("150 calls that change something were let through at once")
	}
	if _, err := c.Drivers.ListDrivers(t.Context(), &pb.ListDriversRequest{}); err != nil {
		t.Errorf("reading must go on: %v", err)
	}
	big := &pb.WriteTagRequest{Tag: strings.Repeat("x", 5<<20)}
	if _, err := pb.NewTagServiceClient(rawConn(t, s)).WriteTag(t.Context(), big); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("5 MiB in one message: %v", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	first := admintest.Dial(t, s)
	if _, err := first.Status.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range 300 {
		c, err := net.Dial("unix", s.Socket)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	// The last one is closed without a word.
	last := open[len(open)-1]
	if err := last.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(last); err != nil {
		t.Errorf("connection 300 is open: %v", err)
	}
	if _, err := first.Status.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil {
		t.Errorf("a client that was there before: %v", err)
	}
}

func TestHealthAndReflection(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	conn := rawConn(t, s)
	for _, name := range []string{"", "edge.admin.v1.TagService"} {
		res, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", name, res, err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, svc := range res.GetListServicesResponse().GetService() {
		names = append(names, svc.GetName())
	}
	for _, want := range []string{"Status", "Endpoint", "Driver", "Tag", "Bus", "Connector", "Config", "Diagnostics"} {
		if !slices.Contains(names, "edge.admin.v1."+want+"Service") {
			t.Errorf("%sService is not listed: %v", want, names)
		}
	}
}

func TestBundleHoldsEveryPart(t *testing.T) {
	c := admintest.Dial(t, admintest.Start(t, admintest.New().Backend()))
	var buf bytes.Buffer
	if err := c.Diagnostics.Bundle(t.Context(), &buf); err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(&buf)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "edge-gateway/")] = string(data)
	}
	for name, want := range map[string]string{
		"version.json": `"platform"`, "status.json": `"gateway": "gw-1"`, "endpoints.json": "plc1", "drivers.json": "refused",
		"tags.json": "温度", "bus.json": `"ack_seq": 9000`, "connectors.json": "mqtt5", "config.json": "applied",
		"config-history.json": "rejected", "goroutines.txt": "goroutine", "heap.pprof": "", "metrics.txt": "admin_connections_refused_total",
		"files/gateway.yml": "password: '***'",
	} {
		if got, ok := files[name]; !ok || !strings.Contains(got, want) {
			t.Errorf("%s (%v) lacks %q: %.200q", name, ok, want, got)
		}
	}
	if e, ok := files["errors.txt"]; ok {
		t.Errorf("errors: %s", e)
	}
}

func TestProfile(t *testing.T) {
	c := admintest.Dial(t, admintest.Start(t, admintest.New().Backend()))
	var buf bytes.Buffer
	if err := c.Diagnostics.Profile(t.Context(), "heap", 0, &buf); err != nil || buf.Len() == 0 {
		t.Errorf("heap: %d bytes, %v", buf.Len(), err)
	}
	if err := c.Diagnostics.Profile(t.Context(), "cpu", 2*time.Minute, &buf); !errors.Is(err, errkind.Invalid) {
		t.Errorf("a cpu profile of two minutes: %v", err)
	}
}
