package busadmin_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// TestParkedOverTheSocket lists, retries and drops messages of a bus that runs: the
// client sees every field, the connector is woken, a second drop says that there is
// nothing, and each change is audited.
func TestParkedOverTheSocket(t *testing.T) {
	b := open(t, t.TempDir())
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	fill(t, b, 50)
	consumer, err := b.OpenReader("mqtt", bus.StartOldest)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_763_888_400_123).UTC()
	for id := uint64(3); id <= 4; id++ {
		p := bus.Parked{ID: id, First: 10 * id, Last: 10*id + 9, Frames: 10, Topic: "plant/data", Reason: "the broker said 0x87", Time: at.UnixMilli(),
			Message: json.RawMessage(`{}`)}
		r, err := p.Record()
		if err != nil {
			t.Fatal(err)
		}
		if err := consumer.Commit(bus.Commit{Put: []bus.Record{r}, Sync: true}); err != nil {
			t.Fatal(err)
		}
	}
	s := admintest.Start(t, admin.Backend{Bus: busadmin.Running(b, nil)})
	c := admintest.Dial(t, s)
	parked := func() []*pb.ParkedMessage {
		t.Helper()
		list, err := c.Bus.Parked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	want := []*pb.ParkedMessage{
		{Consumer: "mqtt", Id: 3, FirstSeq: 30, LastSeq: 39, Frames: 10, Topic: "plant/data", Reason: "the broker said 0x87", Time: timestamppb.New(at)},
		{Consumer: "mqtt", Id: 4, FirstSeq: 40, LastSeq: 49, Frames: 10, Topic: "plant/data", Reason: "the broker said 0x87", Time: timestamppb.New(at)},
	}
	if diff := cmp.Diff(want, parked(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	woken := func(what string) {
		t.Helper()
		select {
		case <-consumer.ParkedChanged():
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the connector is not told", what)
		}
	}
	if err := c.Bus.RetryParked(t.Context(), "mqtt", 3); err != nil {
		t.Fatal(err)
	}
	woken("retry")
	if err := c.Bus.DropParked(t.Context(), "mqtt", 4); err != nil {
		t.Fatal(err)
	}
	woken("drop")
	want[0].Retry = true
	if diff := cmp.Diff(want[:1], parked(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for what, err := range map[string]error{
		"drop twice": c.Bus.DropParked(t.Context(), "mqtt", 4), "retry what is dropped": c.Bus.RetryParked(t.Context(), "mqtt", 4),
		"another consumer": c.Bus.RetryParked(t.Context(), "cloud", 3),
	} {
		if !errors.Is(err, errkind.NotFound) || !strings.Contains(err.Error(), "parked list") {
			t.Errorf("%s: %v", what, err)
		}
	}
	var audited []string
	for _, r := range s.Audits() {
		audited = append(audited, r.Method)
	}
	if got := strings.Join(audited, " "); strings.Count(got, "DropParked") < 1 || strings.Count(got, "RetryParked") < 1 {
		t.Errorf("audited: %s", got)
	}
}
