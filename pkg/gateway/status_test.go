package gateway

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

// TestEveryStatusIsTold fills every field of every part's status: each field of the
// message has a value. A field of a status that the API does not have is named here.
func TestEveryStatusIsTold(t *testing.T) {
	d := admintest.FullStruct[driver.DriverStatus]()
	e := admintest.FullStruct[endpoint.State]()
	e.Status = endpoint.Down
	f := admintest.FullStruct[feed.Status]()
	a := admintest.FullStruct[apply.Result]()
	tag := admintest.FullStruct[driver.TagStatus]()
	tag.Variable = &config.Variable{Access: "RW", Datatype: "int16"}
	step := admintest.FullStruct[connector.Step]()
	step.Err = nil // it is shown in place of the text
	snap := &config.Snapshot{Rev: 1, SHA256: "ab", Endpoints: map[string]config.Endpoint{"e": {}}, Drivers: map[string]config.Driver{"d": {}},
		Variables: []config.Variable{{}}}
	for _, c := range []struct {
		message proto.Message
		from    any
		notTold string // fields of from
	}{
		{driverMessage(&d), d, "Item Device Restarts"},
		{endpointMessage(e, 3, []string{"d"}), e, "Waiting OnBackup NextDial CertExpiry BytesIn BytesOut Trace"},
		{admin.Fill(new(pb.Connector), admintest.FullStruct[connector.Info]()), connector.Info{}, ""},
		{admin.Fill(new(pb.GetBusStatsResponse), admintest.FullStruct[bus.Stats]()), bus.Stats{}, ""},
		{admin.Fill(new(pb.Fact), admintest.FullStruct[driver.Fact]()), driver.Fact{}, ""},
		{configMessage(f, "dir", snap), f, "Link Wanted Running"},
		{applyMessage(a), a, "ID Err Phases"},
		{tagList{tag}.Message(0), tag, "Last Variable"},
		{stepMessage(step), step, "Err"},
	} {
		name := c.message.ProtoReflect().Descriptor().Name()
		for _, field := range admintest.Unset(c.message) {
			t.Errorf("%s: %s has no value", name, field)
		}
		for _, field := range untold(c.message, reflect.TypeOf(c.from)) {
			if !slices.Contains(strings.Fields(c.notTold), field) {
				t.Errorf("%s: %T.%s is not told", name, c.from, field)
			}
		}
	}
}

// untold names the fields of a status for which the message has none of that name, nor
// of one of the names that the gateway gives them.
func untold(m proto.Message, from reflect.Type) (names []string) {
	renamed := map[string]string{"Tags": "points", "Tag": "name", "Status": "state", "Outcome": "state", "Took": "ms"}
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range from.NumField() {
		f := from.Field(i)
		if f.Anonymous {
			names = append(names, untold(m, f.Type)...)
			continue
		}
		name := strings.ToLower(f.Name)
		has := !f.IsExported()
		for j := range fields.Len() {
			have := strings.ReplaceAll(string(fields.Get(j).Name()), "_", "")
			has = has || have == name || have == name+"ms" || have == renamed[f.Name]
		}
		if !has {
			names = append(names, f.Name)
		}
	}
	return names
}
