//go:build linux

package dyn_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/edge-gateway/edge-gateway/pkg/sdk"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// The rude drivers. The executable's name says which one it is.

// rude is one that is written with the SDK. It behaves until its third poll, so that there is
// something to lose.
type rude struct {
	name  string
	polls int
	keep  [][]byte
}

func rudeDriver(name string) sdk.Driver {
	d := sdk.Driver{Name: name, Version: "1", Writes: true, Diagnoses: true}
	d.Open = func(ctx context.Context, _ sdk.Config) (sdk.Device, error) {
		if name == "hang-open" {
			select {}
		}
		return &rude{name: name}, nil
	}
	if name == "hang-check" {
		d.Check = func(sdk.Config, []sdk.Point) []sdk.Finding { select {} }
	}
	return d
}

func (r *rude) Poll(_ context.Context, g *sdk.Group) error {
	r.polls++
	for i := range g.Points {
		g.Set(i, sdk.Int(int64(r.polls)))
	}
	if r.polls == 1 {
		r.begin()
	}
	if r.polls < 3 {
		return nil
	}
	switch r.name {
	case "hang-poll":
		select {}
	case "panic":
		panic("out of order")
	case "exit":
		fmt.Fprintln(os.Stderr, "the licence has expired")
		os.Exit(3)
	case "memory":
		for {
			page := make([]byte, 8<<20)
			for i := 0; i < len(page); i += 4096 {
				page[i] = 1
			}
			r.keep = append(r.keep, page)
		}
	case "nan":
		for i := range g.Points {
			g.Set(i, sdk.Float([]float64{math.NaN(), math.Inf(1), 1e300, 0.5}[i%4]))
		}
	case "kinds":
		for i := range g.Points {
			g.Set(i, []sdk.Value{sdk.Text("x"), sdk.Int(-1), sdk.Uint(math.MaxUint64), sdk.JSON("[1")}[i%4])
		}
	case "away":
		return errors.New("no answer\x1b[31m from the device")
	}
	return nil
}

// begin starts what goes on in the background.
func (r *rude) begin() {
	switch r.name {
	case "flood":
		go func() {
			for {
				fmt.Fprintln(os.Stderr, strings.Repeat("noise ", 1000))
			}
		}()
		go func() {
			for {
				fmt.Println("noise")
			}
		}()
	case "spin":
		for range 4 {
			go func() {
				for n := 1; n > 0; n++ { // for a century
				}
			}()
		}
	case "forks":
		for i := range 40 {
			cmd := exec.Command("/bin/sleep", "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: i%2 == 0} // half of them leave the group
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			if err := cmd.Start(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
}

func (r *rude) Write(context.Context, sdk.Point, sdk.Value) (sdk.Value, error) {
	if r.name == "hang-write" {
		select {}
	}
	return sdk.Value{}, errors.New("no")
}

func (r *rude) Diagnose(context.Context) ([]sdk.Fact, error) {
	if r.name == "hang-diagnose" {
		select {}
	}
	return []sdk.Fact{{Name: "a\nb", Value: "c"}}, nil
}

func (r *rude) Close() error {
	if r.name == "hang-close" {
		select {}
	}
	return nil
}

func (r *rude) Advice() string {
	if r.name == "hang-status" {
		select {}
	}
	return ""
}

// liar answers by the contract's letters and not by its sense.
type liar struct {
	driverpb.UnimplementedDriverServiceServer
	name  string
	polls int
}

func (l *liar) Describe(context.Context, *driverpb.DescribeRequest) (*driverpb.DescribeResponse, error) {
	r := &driverpb.DescribeResponse{Name: l.name, Version: "1"}
	switch l.name {
	case "liar-nameless":
		r.Name = ""
	case "liar-schema":
		r.SettingsSchema = `{"$ref": "file:///etc/passwd"}`
	case "liar-schema-text":
		r.AddressSchema = "{"
	}
	return r, nil
}

func (l *liar) Open(context.Context, *driverpb.OpenRequest) (*driverpb.OpenResponse, error) {
	return &driverpb.OpenResponse{}, nil
}

func (l *liar) SetPoints(context.Context, *driverpb.SetPointsRequest) (*driverpb.SetPointsResponse, error) {
	return &driverpb.SetPointsResponse{}, nil
}

func (l *liar) Status(context.Context, *driverpb.StatusRequest) (*driverpb.StatusResponse, error) {
	return &driverpb.StatusResponse{}, nil
}

func (l *liar) Poll(context.Context, *driverpb.PollRequest) (*driverpb.PollResponse, error) {
	const n = 4 // points of the test
	v := &driverpb.Values{Kinds: []byte{2, 2, 2, 2}, Integers: []int64{1, 2, 3, 4}}
	if l.polls++; l.polls >= 3 {
		switch l.name {
		case "liar-more":
			v.Kinds, v.Integers = append(v.Kinds, 2), append(v.Integers, 5)
		case "liar-fewer":
			v.Kinds, v.Integers = v.Kinds[:1], v.Integers[:1]
		case "liar-nothing":
			v = nil
		case "liar-columns":
			v.Integers = v.Integers[:n-1]
		case "liar-kind":
			v.Kinds[0] = 200
		case "liar-qualities":
			v.Qualities = []byte{0}
		case "liar-huge":
			v.Kinds = []byte{5, 5, 5, 5}
			v.Integers = nil
			for range n {
				v.Texts = append(v.Texts, make([]byte, 8<<20))
			}
		}
	}
	return &driverpb.PollResponse{Values: v}, nil
}

func (l *liar) Close(context.Context, *driverpb.CloseRequest) (*driverpb.CloseResponse, error) {
	return &driverpb.CloseResponse{}, nil
}

// garbage encodes no message of the contract as it should be.
type garbage struct{}

func (garbage) Name() string { return "proto" }

func (g garbage) Marshal(v any) ([]byte, error) {
	if _, ok := v.(*driverpb.PollResponse); ok {
		return []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil
	}
	return proto.Marshal(v.(proto.Message))
}

func (garbage) Unmarshal(data []byte, v any) error { return proto.Unmarshal(data, v.(proto.Message)) }

// raw is a driver without the SDK.
type raw struct {
	goplugin.NetRPCUnsupportedPlugin
	server driverpb.DriverServiceServer
}

func (r raw) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	driverpb.RegisterDriverServiceServer(s, r.server)
	return nil
}

func (raw) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("no client")
}

// serveRaw runs a driver without the SDK.
func serveRaw(name string) {
	version := uint(driverpb.Version)
	if name == "liar-newer" {
		version++
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: version, MagicCookieKey: driverpb.CookieKey, MagicCookieValue: driverpb.CookieValue},
		Plugins:         goplugin.PluginSet{driverpb.PluginName: raw{server: &liar{name: name}}},
		Logger:          hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			if name == "liar-protobuf" {
				opts = append(opts, grpc.ForceServerCodec(garbage{}))
			}
			return grpc.NewServer(opts...)
		},
	})
}

// neverServes are those that do no handshake.
func neverServes(name string) {
	switch name {
	case "says-garbage":
		fmt.Println("hello, world")
		time.Sleep(time.Hour)
	case "says-endless":
		for {
			_, _ = os.Stdout.WriteString("x")
		}
	case "says-elsewhere":
		fmt.Println("1|1|unix|/run/dbus/system_bus_socket|grpc|")
		time.Sleep(time.Hour)
	case "says-tcp":
		fmt.Println("1|1|tcp|127.0.0.1:1|grpc|")
		time.Sleep(time.Hour)
	case "says-nothing-and-ends":
		fmt.Fprintln(os.Stderr, "cannot open shared object")
		os.Exit(127)
	}
}
