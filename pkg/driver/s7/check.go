package s7

import (
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// check implements [driver.Protocol]. What a setting or an address may be is said where
// it is read.
func check(d *driver.Setup, r driver.Findings) {
	s, err := ParseSettings(d.Item.Cfg, config.Endpoint{})
	for _, e := range config.FieldErrors(err) {
		r.Errorf(config.Drivers, d.ID, e.Path, "s7-cfg", "%v", e)
	}
	checkEndpoint(d, r)
	places := map[Place]*config.Variable{}
	for i := range d.Variables {
		v := &d.Variables[i]
		checkVariable(s, v, places, r)
	}
}

// checkEndpoint checks that the endpoint is a stream.
func checkEndpoint(d *driver.Setup, r driver.Findings) {
	if d.Endpoint == nil {
		return
	}
	for _, layer := range strings.Split(d.Endpoint.Scheme, "+") {
		if layer != "tcp" && layer != "tls" && layer != Proto {
			r.Errorf(config.Drivers, d.ID, []string{"endpoint_id"}, "s7-endpoint", "endpoint_id: %s is %s; S7 is spoken over tcp, on port %d as a rule",
				d.Item.EndpointID, d.Endpoint.Scheme, DefaultPort)
			return
		}
	}
}

// checkVariable checks one variable. places has those before it.
func checkVariable(s *Settings, v *config.Variable, places map[Place]*config.Variable, r driver.Findings) {
	pt, note, err := Resolve(v)
	if err == nil {
		_, err = verifyPoint(v, pt)
	}
	if err == nil && s != nil {
		_, err = driver.Interval(v, s.Polling)
	}
	if err != nil {
		for _, e := range config.FieldErrors(err) {
			r.Errorf(config.Variables, v.Tag, e.Path, "s7-address", "%v", e)
		}
		return
	}
	if note != nil {
		r.Warnf(config.Variables, v.Tag, note.Path, "s7-address", "%v", note)
	}
	if other := places[pt.Place]; other != nil && other.Datatype == v.Datatype && other.Scale == v.Scale {
		r.Warnf(config.Variables, v.Tag, []string{"address"}, "s7-overlap", "address: %s is read the same way by %s", pt, other.Tag)
	}
	places[pt.Place] = v
	if v.Access.Writable() && s != nil && !s.EnableWrite {
		r.Warnf(config.Variables, v.Tag, []string{"access"}, "s7-write",
			"access: %s, but the driver %s has no enable_write: true in its cfg; writes will be refused", v.Access, v.DriverID)
	}
	if v.Access.Writable() && !pt.wholeBytes() {
		r.Errorf(config.Variables, v.Tag, []string{"access"}, "s7-address",
			"access: %s, but this array of bits is no whole bytes, and the bits beside it would be written too; begin it at bit 0 with 8, 16 … bits, or take one variable for each bit", v.Access)
	}
	if v.Access.Writable() && pt.Area == AreaInput {
		r.Warnf(config.Variables, v.Tag, []string{"access"}, "s7-write", "access: %s, but the PLC overwrites its inputs in each cycle", v.Access)
	}
	for name, given := range map[string]bool{
		"byte_order": v.ByteOrder != "", "pad": v.Pad != "", "merge": v.Merge != "", "block": v.Block != config.Block{}, "charset": v.Charset != "" && pt.codec == nil,
	} {
		if given {
			r.Warnf(config.Variables, v.Tag, []string{name}, "no-effect", "%s: has no effect on a variable of S7", name)
		}
	}
}

// checkAll implements [driver.Protocol]: each driver keeps a connection, so there must be
// one for each on the endpoint.
func checkAll(drivers []driver.Setup, r driver.Findings) {
	byEndpoint := map[string][]string{}
	conns := map[string]int{}
	for i := range drivers {
		d := &drivers[i]
		if d.Endpoint == nil {
			continue
		}
		byEndpoint[d.Item.EndpointID] = append(byEndpoint[d.Item.EndpointID], d.ID)
		conns[d.Item.EndpointID] = endpoint.OptionsOf(d.Endpoint.Scheme, d.Endpoint.Opts).MaxConns
	}
	for id, list := range byEndpoint {
		slices.Sort(list)
		if n := conns[id]; len(list) > n {
			r.Errorf(config.Drivers, list[n], []string{"endpoint_id"}, "s7-connections",
				"endpoint_id: %d S7 drivers use %s (%s), each of which keeps a connection of its own; set opts.max_conns: %d of that endpoint, if the PLC has as many, or make one driver of them",
				len(list), id, strings.Join(list, ", "), len(list))
		}
	}
}
