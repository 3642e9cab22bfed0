package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

// nightBus is the log of a bad night: long names, long reasons.
type nightBus struct{ admin.BusBackend }

const refusedText = "the broker said 0x87: not authorized; check the user's rights (ACL) at the broker, and username and password"

func longAgo() *timestamppb.Timestamp {
	return timestamppb.New(time.Now().Add(-3*time.Hour - 20*time.Minute - 30*time.Second))
}

func (b nightBus) Stats(ctx context.Context) (*pb.GetBusStatsResponse, error) {
	s, err := b.BusBackend.Stats(ctx)
	for _, c := range s.GetConsumers() {
		if c.Parked {
			c.Name, c.ParkedSince = "headquarters-before-the-move", longAgo()
		}
	}
	return s, err
}

func (nightBus) Parked(context.Context) ([]*pb.ParkedMessage, error) {
	return []*pb.ParkedMessage{{Consumer: "headquarters", Id: 7, FirstSeq: 4_812_345, LastSeq: 4_812_354, Frames: 10,
		Topic: "/edge/acme/press-hall-2-line-7/data", Reason: refusedText, Time: longAgo()}}, nil
}

// TestScreens holds what people see at 80 and 100 columns to files, and none of its
// lines to more.
func TestScreens(t *testing.T) {
	t.Setenv("TZ", "UTC")
	b := admintest.New().Backend()
	b.Bus = nightBus{b.Bus}
	s, err := admintest.Serve(admin.Config{Socket: filepath.Join(t.TempDir(), "s")}, b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }() // the test has said what there is to say
	t.Setenv("EDGE_BUS_SOCKET", s.Socket)
	for _, c := range []struct{ args, reason string }{
		{"stats", "parked: no connector reads it"}, {"replay --from 1 --to 8", "uncertain"}, {"check", "damaged: seq 5 to 6: checksum"},
		{"consumers", "parked"}, {"parked list", refusedText}, {"at line.a 2026-03-02", "4998"}, {"delivered --to 2000", "mqtt"}, {"gc --keep-bytes 1M --dry-run", "mqtt has not acknowledged them"},
	} {
		for _, width := range []int{80, 100} {
			name := fmt.Sprintf("%s.%d", strings.ReplaceAll(c.args, " ", "-"), width)
			t.Run(name, func(t *testing.T) {
				t.Setenv("EDGE_COLUMNS", fmt.Sprint(width))
				root, out := newRoot(), new(bytes.Buffer)
				root.SetArgs(strings.Fields(c.args))
				root.SetOut(out)
				root.SetErr(new(bytes.Buffer)) // errors are sentences, which a terminal wraps
				cli.Execute(t.Context(), root, "EDGE_BUS")
				clitest.Screen(t, name, width, c.reason, out.String())
			})
		}
	}
}
