package asking

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// full is a report without an empty field.
func full(t *testing.T) driver.Report {
	r := driver.Report{
		Document: json.RawMessage(`{"a":1}`), Steps: []driver.Step{{Name: "tcp", Took: time.Millisecond, Text: "there", Error: "gone"}},
		Facts: []driver.Fact{{Name: "state", Value: "running"}}, Hints: []string{"echo: drop"}, Failure: "no answer",
	}
	for _, v := range []reflect.Value{reflect.ValueOf(r), reflect.ValueOf(r.Steps[0]), reflect.ValueOf(r.Facts[0])} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Fatalf("%s.%s is empty: fill it in", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
	return r
}

// TestEverythingComesThrough: what an ability finds and reports arrives whole.
func TestEverythingComesThrough(t *testing.T) {
	want := full(t)
	item := driver.Item{Cells: []string{"1", "2"}, Document: json.RawMessage(`{"b":2}`), Import: []string{"tag"}}
	ability := &driver.Ability{
		Options: []driver.Option{{Name: "unit"}},
		Run: func(_ context.Context, _ driver.Target, a driver.Args, emit func(driver.Event) error) (driver.Report, error) {
			if a.Argument != "start" || a.Get("unit", "") != "3" {
				return want, fmt.Errorf("arguments %+v", a)
			}
			for range 1000 { // more than a client wants to hear of
				if err := emit(driver.Event{Progress: "unit 3"}); err != nil {
					return want, err
				}
			}
			return want, emit(driver.Event{Item: &item})
		},
	}
	r := &pb.AskEndpointRequest{Argument: "start", Options: map[string]string{"unit": "3"}}
	var got []*pb.AskEndpointResponse
	err := Serve(t.Context(), ability, driver.Target{}, r, func(m *pb.AskEndpointResponse) error {
		got = append(got, proto.Clone(m).(*pb.AskEndpointResponse))
		return nil
	})
	if err != nil || len(got) < 3 || len(got) > 100 || got[0].GetProgress() != "unit 3" {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if have := itemFrom(got[len(got)-2].GetItem()); !reflect.DeepEqual(*have, item) {
		t.Errorf("item %+v", have)
	}
	if have := reportFrom(got[len(got)-1].GetReport()); !reflect.DeepEqual(have, want) {
		t.Errorf("report %+v", have)
	}
}
