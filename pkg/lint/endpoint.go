package lint

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// checkEndpoints checks schemes, hosts and options, and finds endpoints that
// nobody uses.
func checkEndpoints(snap *config.Snapshot, list protocols.List, r *Report) {
	users := make(map[string][]string)
	for id, d := range snap.Drivers {
		users[d.EndpointID] = append(users[d.EndpointID], id)
	}
	for _, id := range slices.Sorted(maps.Keys(snap.Endpoints)) {
		e := snap.Endpoints[id]
		checkEndpoint(id, &e, snap, users[id], list, r)
		if len(users[id]) == 0 && (r.src == nil || r.src.Whole(config.Drivers)) {
			r.Warnf(config.Endpoints, id, nil, "unused", "no driver uses the endpoint %s", id)
		}
	}
	checkShared(snap, r)
}

func checkEndpoint(id string, e *config.Endpoint, snap *config.Snapshot, users []string, list protocols.List, r *Report) {
	own := func(id string) bool { return usesOwnSchemes(snap.Drivers[id], list) }
	dialled := *e
	if !slices.ContainsFunc(users, own) {
		dialled = list.Transport(dialled)
	}
	u, err := endpoint.FromTable(dialled.Scheme, dialled.Host, dialled.Port, dialled.Opts)
	if err == nil {
		if s := u.Undialable(); s != "" {
			r.Warnf(config.Endpoints, id, []string{"scheme"}, "not-built",
				"scheme: %s is not built yet; a gateway will refuse this endpoint", s)
		}
		return
	}
	rule, path := "endpoint", []string(nil)
	if f, ok := errors.AsType[*config.FieldError](err); ok {
		path = f.Path
	}
	if errors.Is(err, endpoint.ErrUnknownOption) {
		rule = "unknown-key"
	}
	if errors.Is(err, endpoint.ErrUnknownScheme) && !slices.ContainsFunc(users, own) {
		// A driver that isn't built in may bring a scheme of its own.
		r.Warnf(config.Endpoints, id, path, "not-built", "%v; only a driver that brings this scheme could use it", err)
		return
	}
	r.Errorf(config.Endpoints, id, path, rule, "%v", err)
}

// usesOwnSchemes reports whether a driver works over the gateway's own
// transports only.
func usesOwnSchemes(d config.Driver, list protocols.List) bool {
	p, ok := list.Find(d.Proto)
	return ok && d.Kind == config.KindStatic && p.Transport == nil
}

// checkShared finds serial lines that two endpoints claim: a line has one owner.
func checkShared(snap *config.Snapshot, r *Report) {
	owner := make(map[string]string)
	for _, id := range slices.Sorted(maps.Keys(snap.Endpoints)) {
		e := snap.Endpoints[id]
		if !isSerial(&e) {
			continue
		}
		if first, taken := owner[e.Host]; taken {
			r.Errorf(config.Endpoints, id, []string{"host"}, "line-owner",
				"host: %s belongs to the endpoint %s already; a serial line is one endpoint, which many drivers may share", e.Host, first)
			continue
		}
		owner[e.Host] = id
	}
}

// isSerial reports whether the endpoint is a serial line.
func isSerial(e *config.Endpoint) bool {
	return e.Scheme[strings.LastIndexByte(e.Scheme, '+')+1:] == "serial"
}
