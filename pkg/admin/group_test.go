package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

func TestGrouped(t *testing.T) {
	since := time.Unix(1000, 0)
	var problems []*pb.Problem
	for i := range 40 {
		problems = append(problems, &pb.Problem{Part: "driver", Name: fmt.Sprintf("unit-%02d", i+1), Since: timestamppb.New(since.Add(-time.Duration(i) * time.Second)),
			Text: fmt.Sprintf("8 of 8 tags are bad: no answer from unit %d within 1s", i+1), Hint: "edge-ctl why x"})
	}
	other := &pb.Problem{Part: "driver", Name: "oven", Text: "2 of 9 tags refused: a, b: 0x02 illegal data address"}
	alike := &pb.Problem{Part: "connector", Name: "mqtt", Text: "connection refused"}
	got := grouped(append([]*pb.Problem{alike, other, {Part: "connector", Name: "cloud", Text: "connection refused"}}, problems...))
	want := []*pb.Problem{
		{Part: "connector", Name: "mqtt, cloud", Text: "connection refused"}, other,
		{Part: "driver", Name: "unit-01, unit-02, unit-03, 37 more", Since: timestamppb.New(since.Add(-39 * time.Second)),
			Text: "8 of 8 tags are bad: no answer from unit 1 within 1s (the others: alike)", Hint: "edge-ctl why x"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
