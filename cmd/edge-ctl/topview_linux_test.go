package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

// manyDrivers are forty, of which the last is the worst.
type manyDrivers struct{ pb.DriverServiceServer }

func (manyDrivers) ListDrivers(context.Context, *pb.ListDriversRequest) (*pb.ListDriversResponse, error) {
	r := new(pb.ListDriversResponse)
	for i := range 40 {
		r.Drivers = append(r.Drivers, &pb.Driver{Id: fmt.Sprintf("drv%02d", i), State: "running", Bad: uint32(i), LatencyP99Ms: float64(i % 7), LastRead: longAgo()})
	}
	return r, nil
}

// TestTopKeys drives top as a person does, on a terminal of 80 by 24, and looks at what
// it leaves behind.
func TestTopKeys(t *testing.T) {
	b := admintest.New().Backend()
	b.Drivers = manyDrivers{b.Drivers}
	s, err := admintest.Serve(admin.Config{Socket: filepath.Join(t.TempDir(), "s")}, b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }() // the test has said what there is to say
	t.Setenv("TERM", "xterm")
	for _, quit := range []string{"q", "\x03"} { // in a raw terminal, Ctrl-C is a key
		term := clitest.NewTerminal(t, 80, 24)
		done := make(chan int, 1)
		go func() {
			root := newRoot()
			root.SetArgs([]string{"--socket", s.Socket, "top", "--interval", "1h"})
			root.SetIn(term.Device)
			root.SetOut(term.Device)
			root.SetErr(term.Device)
			done <- cli.Execute(t.Context(), root, envPrefix)
		}()
		at := term.WaitFor("drv00 ", 0)
		term.WaitFor("↓28", at)
		for _, step := range []struct{ keys, want string }{
			{"\x1b[B", "drv01 "}, {"\x1b[6~", "↑13"}, {"\x1b[F", "drv39 "}, {"b", "drv39 "}, {"r", "drv00 "}, {"n", "[n]"},
			{"/drv3", "filter: drv3_"}, {"x\x7f\r", `"drv3" 10 of 40`}, {"\x1b", "↓28"},
		} {
			at = len(term.Shown())
			term.Type(step.keys)
			term.WaitFor(step.want, at)
		}
		at = len(term.Shown())
		term.Resize(60, 12)
		term.WaitFor("q quit", at)
		at = len(term.Shown())
		term.Type(quit)
		term.WaitFor("\x1b[?25h\x1b[?1049l", at) // the cursor and the screen of before
		if code := <-done; code != cli.OK || !term.Cooked() {
			t.Errorf("after %q: exit code %d, terminal as it was: %v", quit, code, term.Cooked())
		}
	}
}

// TestTopOrders: each key has an order of its own, in which the worst comes first.
func TestTopOrders(t *testing.T) {
	r, _ := manyDrivers{}.ListDrivers(t.Context(), nil)
	v := &topView{now: sample{drivers: r.Drivers}}
	keys := map[string]bool{"q": true, "r": true, "j": true, "k": true, "/": true}
	for _, o := range topOrders() {
		if keys[o.key] {
			t.Errorf("the key %s has two meanings", o.key)
		}
		keys[o.key] = true
		v.Key(o.key)
		list := v.drivers()
		if !slices.IsSortedFunc(list, func(a, b *pb.Driver) int { return o.compare(&topRow{Driver: a}, &topRow{Driver: b}) }) {
			t.Errorf("%s: not sorted", o.key)
		}
		if !strings.Contains(topKeys(), o.name) {
			t.Errorf("the help does not tell of %s", o.name)
		}
	}
	if v.Key("b"); v.drivers()[0].Id != "drv39" {
		t.Error("the worst is not first")
	}
}

// panics is a view with a fault.
type panics struct{}

func (panics) Refresh(context.Context) error { return nil }
func (panics) Draw(out *cli.Output) error {
	_, err := out.Writer().Write([]byte("a picture\n"))
	return err
}
func (panics) Key(string) bool { panic("a fault") }

// TestPanicLeavesTheTerminal as it was.
func TestPanicLeavesTheTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	term := clitest.NewTerminal(t, 80, 24)
	cmd := newTop()
	cmd.SetOut(term.Device)
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		_ = cli.NewOutput(cmd).Interact(t.Context(), term.Device, time.Hour, panics{})
	}()
	at := term.WaitFor("a picture", 0)
	term.Type("x")
	if r := <-done; r != "a fault" {
		t.Errorf("recovered %v", r)
	}
	term.WaitFor("\x1b[?25h\x1b[?1049l", at)
	if !term.Cooked() {
		t.Error("the terminal is left raw")
	}
}
