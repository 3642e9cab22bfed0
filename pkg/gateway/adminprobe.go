package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/asking"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// lineWait is how long a question waits for its turn on the line.
const lineWait = 10 * time.Second

// AskEndpoint runs an ability of a protocol over the endpoint's own connections,
// between polls. A device that refuses or is silent is an answer.
func (a adminEndpoints) AskEndpoint(r *pb.AskEndpointRequest, out grpc.ServerStreamingServer[pb.AskEndpointResponse]) error {
	id, snap := r.GetEndpoint(), a.g.runner.Current()
	item, ok := snap.Endpoints[id]
	if !ok {
		return fmt.Errorf("endpoint %s: %w", id, errkind.NotFound)
	}
	proto, err := protocolAt(snap, id, r.GetProtocol())
	if err != nil {
		return err
	}
	ability := proto.Ability(r.GetAbility())
	if ability == nil {
		return fmt.Errorf("endpoint %s: protocol %s can't %s: %w", id, proto.Name, r.GetAbility(), errkind.Invalid)
	}
	if r.GetAbility() == driver.AbilityScan {
		if _, running := a.g.scans.LoadOrStore(id, true); running {
			return fmt.Errorf("endpoint %s: %w: another scan of it runs", id, errkind.Conflict)
		}
		defer a.g.scans.Delete(id)
	}
	ep, giveUp, err := a.g.endpoints.user(id, item)
	if err != nil {
		return err
	}
	defer giveUp()
	shared := *ability
	shared.Run = func(ctx context.Context, to driver.Target, args driver.Args, emit func(driver.Event) error) (driver.Report, error) {
		report, err := a.g.Drivers().Ask(ctx, id, proto.Name, r.GetAbility(), args, emit)
		if !errors.Is(err, errors.ErrUnsupported) {
			return report, err
		}
		ep.Insist() // whatever the back-off: somebody stands at the device
		return ability.Run(ctx, to, args, emit)
	}
	return asking.Serve(out.Context(), &shared, driver.Target{
		Item: item, ID: id, Endpoint: patient{ep}, Shared: true, Drivers: driversAt(snap, id, proto.Name), Name: a.g.cfg.GatewayID,
		PKI: filepath.Join(a.g.cfg.DataDir, "pki"), Secret: a.g.endpoints.policy.Secret, File: a.g.endpoints.policy.File,
	}, r, out.Send)
}

// protocolAt returns the protocol of that name; without one, that of the endpoint's
// drivers, or else the one that answers to its scheme.
func protocolAt(snap *config.Snapshot, endpoint, name string) (driver.Protocol, error) {
	list := protocols.Builtin()
	if name == "" {
		for _, id := range slices.Sorted(maps.Keys(snap.Drivers)) {
			if d := snap.Drivers[id]; d.EndpointID == endpoint {
				name = d.Proto
				break
			}
		}
	}
	if name == "" {
		if p, ok := list.ForScheme(snap.Endpoints[endpoint].Scheme); ok {
			return p, nil
		}
	}
	p, ok := list.Find(name)
	if !ok {
		return p, fmt.Errorf("endpoint %s: protocol %q: %w", endpoint, name, errkind.NotFound)
	}
	return p, nil
}

// driversAt are the drivers of a protocol at an endpoint, sorted by id.
func driversAt(snap *config.Snapshot, endpoint, proto string) (out []config.Driver) {
	for _, id := range slices.Sorted(maps.Keys(snap.Drivers)) {
		if d := snap.Drivers[id]; d.EndpointID == endpoint && d.Proto == proto {
			out = append(out, d)
		}
	}
	return out
}

// patient waits for a connection for a while only.
type patient struct{ endpoint.Acquirer }

// Acquire implements [endpoint.Acquirer].
func (p patient) Acquire(ctx context.Context) (endpoint.Lease, error) {
	wait, cancel := context.WithTimeout(ctx, lineWait)
	defer cancel()
	began := time.Now()
	l, err := p.Acquirer.Acquire(wait)
	if _, down := errors.AsType[*endpoint.DownError](err); down { // which may be down for days: this dial was for the person
		err = fmt.Errorf("the gateway dialled just now, and failed after %s: %w", time.Since(began).Round(time.Millisecond/10), err)
	}
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		err = fmt.Errorf("%w: %w", errkind.Unavailable, err)
	}
	return l, err
}
