package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// What a bad night looks like: long names, long reasons.
const (
	refusedText = "endpoint press-hall-2-line-7 is down: dial tcp 10.20.30.41:502: connect: no route to host (since 2026-11-27 23:30:23 +00:00)"
	brokerText  = "mqtts://broker.plant.example.com:8883: tls: certificate of broker.plant.example.com is not signed by the authority in tls.ca"
	tagText     = "refused: 0x02 illegal data address"
	applyText   = "driver press-hall-2-line-7-unit-3 did not come up within 10s: no answer from unit 3"
)

type (
	nightEndpoints  struct{ pb.EndpointServiceServer }
	nightDrivers    struct{ pb.DriverServiceServer }
	nightConnectors struct{ pb.ConnectorServiceServer }
	nightConfig     struct{ pb.ConfigServiceServer }
)

func longAgo() *timestamppb.Timestamp {
	return timestamppb.New(time.Now().Add(-3*time.Hour - 20*time.Minute - 30*time.Second))
}

func (nightEndpoints) ListEndpoints(context.Context, *pb.ListEndpointsRequest) (*pb.ListEndpointsResponse, error) {
	var all []string
	for _, u := range "abcdefghij" {
		all = append(all, "press-hall-2-line-7-unit-"+string(u))
	}
	return &pb.ListEndpointsResponse{Endpoints: []*pb.Endpoint{
		{Id: "plc1", Url: "tcp://10.0.0.1:502", State: "up", Since: longAgo(), Open: 1, Max: 1, Drivers: []string{"oven"}},
		{Id: "press-hall-2-line-7", Url: "tls+tcp://10.20.30.41:802", State: "down", Since: longAgo(), Error: refusedText, Max: 1, Reconnects: 2211, Drivers: all},
	}}, nil
}

func (nightDrivers) ListDrivers(context.Context, *pb.ListDriversRequest) (*pb.ListDriversResponse, error) {
	oven := &pb.Driver{
		Id: "oven", Kind: "static", Proto: "modbus", Endpoint: "plc1", State: "running", Since: longAgo(), Points: 120, Polls: 4_812_345,
		LatencyP50Ms: 180.2, LatencyP99Ms: 301, LastRead: longAgo(), Overruns: 64,
		LastMinute: &pb.DriverMinute{Cycles: 113, Overruns: 64, Polls: 49},
	}
	press := &pb.Driver{Id: "press-hall-2-line-7-unit-3", Proto: "modbus", Endpoint: "press-hall-2-line-7", State: "fault", Since: longAgo(), Points: 12, Bad: 12, Error: refusedText}
	return &pb.ListDriversResponse{Drivers: []*pb.Driver{oven, press}}, nil
}

func nightTags() []*pb.Tag {
	return []*pb.Tag{
		{Name: "oven.zone1.temp", Driver: "oven", Unit: "°C", Access: "R", Datatype: "float32", Address: "holding 998 (2 registers)",
			Quality: pb.QualityOf(frame.Bad), Reason: tagText, Hint: "check address.addr"},
		{Name: "oven.zone2.temp", Driver: "oven", Unit: "°C", Access: "RW", Datatype: "float32", Address: "holding 1000 (2 registers)",
			Known: true, Quality: pb.QualityOf(frame.Good), Value: pb.ValueOf(frame.FloatValue(231.4)), TsNs: longAgo().AsTime().UnixNano(), Frames: 48123},
	}
}

func (nightConnectors) ListConnectors(context.Context, *pb.ListConnectorsRequest) (*pb.ListConnectorsResponse, error) {
	return &pb.ListConnectorsResponse{Connectors: []*pb.Connector{{Name: "headquarters", Kind: "mqtt5", State: "down", Since: longAgo(), Error: brokerText,
		NextAttempt: timestamppb.New(time.Now().Add(8*time.Second + 450*time.Millisecond)),
		Peer:        "mqtts://broker.plant.example.com:8883", Lag: 1_234_567, OutBytes: 12_897_484, OutFrames: 160_000, RttAvgMs: 12.4, RttP95Ms: 20}}}, nil
}

func (nightConnectors) TestConnector(context.Context, *pb.TestConnectorRequest) (*pb.TestConnectorResponse, error) {
	return &pb.TestConnectorResponse{Steps: []*pb.TestStep{{Name: "name", Ok: true, Text: "10.1.1.1", Ms: 1.2}, {Name: "tls", Text: brokerText, Ms: 20}}}, nil
}

func (nightConfig) GetConfigStatus(context.Context, *pb.GetConfigStatusRequest) (*pb.GetConfigStatusResponse, error) {
	return &pb.GetConfigStatusResponse{Status: &pb.ConfigStatus{Source: "etcd", Rev: 7, Sha256: strings.Repeat("ab", 32), State: "rolled_back", Error: applyText, Since: longAgo()}}, nil
}

func (nightConfig) ListConfigHistory(context.Context, *pb.ListConfigHistoryRequest) (*pb.ListConfigHistoryResponse, error) {
	began := timestamppb.New(time.Date(2026, 11, 27, 14, 3, 0, 0, time.Local))
	return &pb.ListConfigHistoryResponse{Applies: []*pb.ConfigApply{{Rev: 8, Sha256: strings.Repeat("ab", 32), State: "rolled_back", Began: began, DurationMs: 10_012.5,
		Impact: "restart press-hall-2-line-7-unit-3, drain press-hall-2-line-7", FailedIn: "Verifying", Error: applyText}}}, nil
}

// TestScreens holds what people see at 80 and 100 columns to files, none of its lines
// to more, and the reason to stand there whole.
func TestScreens(t *testing.T) {
	fake := admintest.New()
	b := fake.Backend()
	fake.SetTags(nightTags())
	b.Endpoints, b.Drivers = nightEndpoints{b.Endpoints}, nightDrivers{b.Drivers}
	b.Connectors, b.Config = nightConnectors{b.Connectors}, nightConfig{b.Config}
	s, err := admintest.Serve(admin.Config{Socket: filepath.Join(t.TempDir(), "s")}, b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }() // the test has said what there is to say
	t.Setenv("EDGE_CTL_SOCKET", s.Socket)
	for _, c := range []struct{ args, reason string }{
		{"endpoints", refusedText}, {"drivers", refusedText}, {"tags", tagText}, {"connector", brokerText},
		{"connector headquarters test", brokerText}, {"connector headquarters stats", brokerText}, {"config history", applyText},
		{"why press-hall-2-line-7-unit-3", refusedText}, {"why oven.zone1.temp", "illegal data address"},
		{"status", brokerText},
	} {
		for _, width := range []int{80, 100} {
			t.Run(screenName(c.args, width), func(t *testing.T) {
				t.Setenv("EDGE_COLUMNS", fmt.Sprint(width))
				got := regexp.MustCompile(`(?m)^version .*$`).ReplaceAllString(screen(t, strings.Fields(c.args)...), "version …")
				clitest.Screen(t, screenName(c.args, width), width, c.reason, got)
			})
		}
	}
	t.Setenv("EDGE_COLUMNS", "80")
	if wide := screen(t, "drivers", "-o", "wide"); !strings.Contains(wide, "RETRIES") || !strings.Contains(wide, refusedText) {
		t.Errorf("-o wide leaves out something:\n%s", wide)
	}
}

// TestTopScreen is one picture of top.
func TestTopScreen(t *testing.T) {
	drivers, _ := nightDrivers{}.ListDrivers(t.Context(), nil)
	connectors, _ := nightConnectors{}.ListConnectors(t.Context(), nil)
	now := sample{at: time.Now(), drivers: drivers.Drivers, connectors: connectors.Connectors, bus: &pb.GetBusStatsResponse{WalBytes: 1 << 20, WalMaxBytes: 4 << 20},
		status: &pb.GetStatusResponse{Gateway: "gw-1", State: "running", Started: longAgo(), ConfigRev: 7, ConfigState: "applied",
			Problems: []*pb.Problem{{Part: "connector", Name: "headquarters", Text: brokerText}}}}
	for _, width := range []int{80, 100} {
		t.Setenv("EDGE_COLUMNS", fmt.Sprint(width))
		cmd, out := newTop(), new(bytes.Buffer)
		cmd.SetOut(out)
		if err := printTop(cli.NewOutput(cmd), sample{}, now); err != nil {
			t.Fatal(err)
		}
		clitest.Screen(t, screenName("top", width), width, refusedText, out.String())
	}
}

// screen runs the command.
func screen(t *testing.T, args ...string) string {
	t.Helper()
	root, out := newRoot(), new(bytes.Buffer)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(new(bytes.Buffer)) // what fails on the night is said on the output
	cli.Execute(t.Context(), root, envPrefix)
	return out.String()
}

func screenName(args string, width int) string {
	return fmt.Sprintf("%s.%d", strings.ReplaceAll(args, " ", "-"), width)
}
