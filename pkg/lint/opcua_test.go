package lint

import (
	"cmp"
	"strings"
	"testing"
)

// TestOPCUA gives every rule of the protocol tables that break it, and good ones.
func TestOPCUA(t *testing.T) {
	const (
		server = "ua: {scheme: opc.tcp, host: 10.0.0.1}\n"
		reader = "d: {kind: static, endpoint_id: ua, proto: opcua}\n"
		temp   = "- {tag: a, driver_id: d, access: R, address: {node: \"ns=2;s=Temp\"}, datatype: float64}\n"
	)
	for name, c := range map[string]struct {
		endpoints, drivers, variables string
		want                          []string // parts of the findings, in order
	}{
		"good":          {},
		"specification": {drivers: "d: {kind: static, endpoint_id: ua, proto: opcua, cfg: {session_timeout: 5m, subscriptions: [{node: \"ns=2;s=Temp\", sample: 100ms}]}}\n"},
		"insecure": {endpoints: "ua: {scheme: opc.tcp, host: 10.0.0.1, opts: {security_policy: None, username: edge, password: \"${env:EDGE_SECRET_A}\", check_host: false}}\n",
			want: []string{"warning: opts.security_policy: None", "warning: opts.check_host"}},
		"policy": {endpoints: "ua: {scheme: opc.tcp, host: 10.0.0.1, opts: {security_policy: Basic256}}\n",
			want: []string{"error: opts.security_policy: \"Basic256\": expected auto"}},
		"None with Sign": {endpoints: "ua: {scheme: opc.tcp, host: 10.0.0.1, opts: {security_policy: None, security_mode: Sign}}\n", want: []string{"error: opts.security_mode: contradicts"}},
		"two users": {endpoints: "ua: {scheme: opc.tcp, host: 10.0.0.1, opts: {username: a, user_cert: /c, user_key: /k}}\n",
			want: []string{"error: opts.user_cert: contradicts username"}},
		"unknown option": {endpoints: "ua: {scheme: opc.tcp, host: 10.0.0.1, opts: {securty_policy: None}}\n", want: []string{"(unknown-key)"}},
		"over tcp":       {endpoints: "ua: {scheme: tcp, host: 10.0.0.1, port: 4840}\n", want: []string{"error: scheme: tcp: OPC UA is spoken over opc.tcp only"}},
		"modbus over it": {drivers: "d: {kind: static, endpoint_id: ua, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n",
			variables: "- {tag: a, driver_id: d, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n", want: []string{"error: scheme: unknown scheme \"opc.tcp\""}},
		"unknown setting": {drivers: "d: {kind: static, endpoint_id: ua, proto: opcua, cfg: {keep_alive: 1s}}\n", want: []string{"error: unknown key keep_alive; did you mean keepalive?"}},
		"keepalive":       {drivers: "d: {kind: static, endpoint_id: ua, proto: opcua, cfg: {keepalive: 1s, publishing: 2s}}\n", want: []string{"error: cfg.keepalive: 1s is shorter than publishing"}},
		"twice in the list": {drivers: "d: {kind: static, endpoint_id: ua, proto: opcua, cfg: {subscriptions: [{node: \"ns=2;s=Temp\"}, {node: \"ns=2;s=Temp\"}]}}\n",
			want: []string{"stands twice in the list"}},
		"nobody's node": {drivers: "d: {kind: static, endpoint_id: ua, proto: opcua, cfg: {subscriptions: [{node: \"ns=2;s=Tmp\"}]}}\n",
			want: []string{"warning: cfg.subscriptions: no variable has the node ns=2;s=Tmp; did you mean ns=2;s=Temp?"}},
		"node":     {variables: strings.Replace(temp, "ns=2;", "ns=x;", 1), want: []string{"error: address.node: \"ns=x;s=Temp\""}},
		"register": {variables: "- {tag: a, driver_id: d, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n", want: []string{"error: address.type: holding"}},
		"datatype": {variables: strings.Replace(temp, "float64", "bcd16", 1), want: []string{"error: datatype: bcd16"}},
		"polling":  {variables: strings.Replace(temp, "datatype", "polling: 1ms, datatype", 1), want: []string{"error: polling: 1ms, expected 10ms at least"}},
		"twice":    {variables: temp + strings.Replace(temp, "tag: a", "tag: b", 1), want: []string{"warning: address: ns=2;s=Temp is read the same way by a"}},
		"writes":   {variables: strings.Replace(temp, "access: R", "access: RW", 1), want: []string{"warning: access: RW, but the driver d has no enable_write"}},
		"no words": {variables: strings.Replace(temp, "datatype", "byte_order: CDAB, datatype", 1), want: []string{"warning: byte_order: has no effect on a node"}},
	} {
		t.Run(name, func(t *testing.T) {
			finds(t, map[string]string{"endpoints.yml": cmp.Or(c.endpoints, server), "drivers.yml": cmp.Or(c.drivers, reader), "variables.yml": cmp.Or(c.variables, temp)}, c.want)
		})
	}
}
