package opcua

import (
	"maps"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// checkSetup implements [driver.Protocol]. What a setting or an address may be is said where
// it is read.
func checkSetup(d *driver.Setup, r driver.Findings) {
	s, err := ParseSettings(d.Item.Cfg, config.Endpoint{})
	for _, e := range config.FieldErrors(err) {
		r.Errorf(config.Drivers, d.ID, e.Path, "opcua-cfg", "%v", e)
	}
	if d.Endpoint != nil {
		checkAccess(d, r)
	}
	nodes := map[string]*config.Variable{}
	for i := range d.Variables {
		v := &d.Variables[i]
		n, err := Resolve(v)
		if err != nil {
			for _, e := range config.FieldErrors(err) {
				r.Errorf(config.Variables, v.Tag, e.Path, "opcua-address", "%v", e)
			}
			continue
		}
		if other := nodes[n.String()]; other != nil && other.Datatype == v.Datatype && other.Scale == v.Scale && other.Address.Index == v.Address.Index {
			r.Warnf(config.Variables, v.Tag, []string{"address"}, "opcua-node", "address: %s is read the same way by %s", n, other.Tag)
		}
		nodes[n.String()] = v
		if v.Access.Writable() && s != nil && !s.EnableWrite {
			r.Warnf(config.Variables, v.Tag, []string{"access"}, "opcua-write",
				"access: %s, but the driver %s has no enable_write: true in its cfg; writes will be refused", v.Access, v.DriverID)
		}
		checkRegisterFields(v, r)
	}
	if err == nil {
		checkSubscriptions(d, s, nodes, r)
	}
}

// checkAccess checks the endpoint as the way to an OPC UA server.
func checkAccess(d *driver.Setup, r driver.Findings) {
	a, err := ParseAccess(*d.Endpoint)
	for _, e := range config.FieldErrors(err) {
		r.Errorf(config.Endpoints, d.Item.EndpointID, e.Path, "opcua-endpoint", "%v", e)
	}
	if err != nil {
		return
	}
	warn := func(key, format string, args ...any) {
		r.Warnf(config.Endpoints, d.Item.EndpointID, []string{"opts", key}, "opcua-security", "opts."+key+": "+format, args...)
	}
	switch {
	case !a.Secure() && a.Username != "":
		warn("security_policy", "None: everybody on the way can read and change what is sent, and where the server offers nothing better, the password")
	case !a.Secure():
		warn("security_policy", "None: everybody on the way can read and change what is sent")
	}
	if !a.CheckHost {
		warn("check_host", "a trusted certificate is accepted from any host")
	}
}

// checkRegisterFields warns of what only registers have.
func checkRegisterFields(v *config.Variable, r driver.Findings) {
	for name, given := range map[string]bool{
		"byte_order": v.ByteOrder != "", "charset": v.Charset != "", "pad": v.Pad != "", "merge": v.Merge != "", "block": v.Block != config.Block{}, "verify_address": v.VerifyAddress != nil,
	} {
		if given {
			r.Warnf(config.Variables, v.Tag, []string{name}, "no-effect", "%s: has no effect on a node of OPC UA", name)
		}
	}
}

// checkSubscriptions finds entries of cfg.subscriptions that no variable reads.
func checkSubscriptions(d *driver.Setup, s *Settings, nodes map[string]*config.Variable, r driver.Findings) {
	if len(d.Variables) == 0 {
		return
	}
	for i := range s.Subscriptions {
		n, err := ParseNode(s.Subscriptions[i].Node)
		if err != nil || nodes[n.String()] != nil {
			continue
		}
		hint := ""
		if near := config.Nearest(n.String(), slices.Collect(maps.Keys(nodes))); near != "" {
			hint = "; did you mean " + near + "?"
		}
		r.Warnf(config.Drivers, d.ID, []string{"cfg", "subscriptions"}, "opcua-node", "cfg.subscriptions: no variable has the node %s%s", strings.TrimSpace(n.String()), hint)
	}
}
