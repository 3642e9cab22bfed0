// Package asking carries the abilities of protocols over the admin API: a command has
// the gateway run one over the connections of its drivers, and gets the same events and
// the same report as if it had run the ability itself.
package asking

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// progressEvery is how often a client hears of progress.
const progressEvery = 100 * time.Millisecond

// Serve runs an ability for a client: what it finds goes to send, then its report.
func Serve(ctx context.Context, ability *driver.Ability, to driver.Target, r *pb.AskEndpointRequest, send func(*pb.AskEndpointResponse) error) error {
	args, err := argsOf(ability, r)
	if err != nil {
		return err
	}
	var told time.Time
	report, err := ability.Run(ctx, to, args, func(e driver.Event) error {
		if e.Item != nil {
			return send(&pb.AskEndpointResponse{Event: &pb.AskEndpointResponse_Item{Item: &pb.AskItem{
				Cells: e.Item.Cells, Document: e.Item.Document, Import: e.Item.Import,
			}}})
		}
		if time.Since(told) < progressEvery {
			return nil
		}
		told = time.Now()
		return send(&pb.AskEndpointResponse{Event: &pb.AskEndpointResponse_Progress{Progress: e.Progress}})
	})
	if err != nil {
		return err
	}
	return send(&pb.AskEndpointResponse{Event: &pb.AskEndpointResponse_Report{Report: reportTo(report)}})
}

// argsOf takes the arguments of a request that the ability knows.
func argsOf(ability *driver.Ability, r *pb.AskEndpointRequest) (driver.Args, error) {
	for name := range r.GetOptions() {
		if !slices.ContainsFunc(ability.Options, func(o driver.Option) bool { return o.Name == name }) {
			return driver.Args{}, driver.Argsf("option %q: it is not known", name)
		}
	}
	a := driver.Args{Argument: r.GetArgument(), Options: r.GetOptions()}
	if ability.Alone != nil {
		if why := ability.Alone(a); why != "" {
			return a, driver.Argsf("drivers use the connection, and %s", why)
		}
	}
	if ability.Check != nil {
		return a, ability.Check(a)
	}
	return a, nil
}

// Ask has the gateway run an ability, as [driver.Ability.Run] does.
func Ask(ctx context.Context, c *admin.Client, r *pb.AskEndpointRequest, emit func(driver.Event) error) (driver.Report, error) {
	var report *pb.AskReport
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.AskEndpointResponse], error) {
		return c.Endpoints.AskEndpoint(ctx, r)
	}
	err := admin.Receive(ctx, open, func(m *pb.AskEndpointResponse) error {
		switch e := m.GetEvent().(type) {
		case *pb.AskEndpointResponse_Progress:
			return emit(driver.Event{Progress: e.Progress})
		case *pb.AskEndpointResponse_Item:
			return emit(driver.Event{Item: itemFrom(e.Item)})
		case *pb.AskEndpointResponse_Report:
			report = e.Report
		}
		return nil
	})
	if err == nil && report == nil {
		err = cmp.Or(ctx.Err(), fmt.Errorf("the gateway gave no report: %w", errkind.Unavailable))
	}
	return reportFrom(report), err
}

func itemFrom(m *pb.AskItem) *driver.Item {
	return &driver.Item{Cells: m.GetCells(), Document: m.GetDocument(), Import: m.GetImport()}
}

func reportTo(r driver.Report) *pb.AskReport {
	m := &pb.AskReport{Document: r.Document, Hints: r.Hints, Failure: r.Failure, Facts: admin.FillEach[pb.Fact](r.Facts)}
	for _, s := range r.Steps {
		m.Steps = append(m.Steps, &pb.AskStep{Name: s.Name, Took: durationpb.New(s.Took), Text: s.Text, Error: s.Error})
	}
	return m
}

func reportFrom(m *pb.AskReport) driver.Report {
	r := driver.Report{Document: m.GetDocument(), Hints: m.GetHints(), Failure: m.GetFailure()}
	for _, f := range m.GetFacts() {
		r.Facts = append(r.Facts, driver.Fact{Name: f.GetName(), Value: f.GetValue()})
	}
	for _, s := range m.GetSteps() {
		r.Steps = append(r.Steps, driver.Step{Name: s.GetName(), Took: s.GetTook().AsDuration(), Text: s.GetText(), Error: s.GetError()})
	}
	return r
}
