package lint

import (
	"cmp"
	"strings"
	"testing"
)

// TestS7 gives every rule of the protocol tables that break it, and good ones.
func TestS7(t *testing.T) {
	const (
		plc    = "plc: {scheme: tcp, host: 10.0.0.1, port: 102}\n"
		reader = "d: {kind: static, endpoint_id: plc, proto: s7, cfg: {polling: 1s}}\n"
		level  = "- {tag: a, driver_id: d, access: R, address: {s7: DB1.DBD4}, datatype: float32}\n"
	)
	variable := func(address, rest string) string {
		return "- {tag: a, driver_id: d, access: R, address: {" + address + "}, " + rest + "}\n"
	}
	for name, c := range map[string]struct {
		endpoints, drivers, variables string
		want                          []string // parts of the findings, in order
	}{
		"good":          {},
		"scheme s7":     {endpoints: "plc: {scheme: s7, host: 10.0.0.1}\n"},
		"specification": {variables: variable("type: s7_db, area: DB, db: 1, start: 4, size: 4", "datatype: float32")},
		"flags":         {variables: variable("type: s7_db, area: M, start: 4, bit: 3", "datatype: bool")},
		"German":        {variables: variable("s7: E0.7", "datatype: bool")},
		"string":        {variables: variable("s7: DB1.STRING20.32", "datatype: string, charset: latin1")},
		"tsap":          {drivers: "d: {kind: static, endpoint_id: plc, proto: s7, cfg: {polling: 1s, remote_tsap: \"02.00\", local_tsap: \"01.00\"}}\n"},
		"no polling":    {drivers: "d: {kind: static, endpoint_id: plc, proto: s7, cfg: {slot: 1}}\n", want: []string{"error: key cfg.polling is missing", "no driver uses"}},
		"two slots":     {drivers: "d: {kind: static, endpoint_id: plc, proto: s7, cfg: {polling: 1s, slot: 2, remote_tsap: \"02.00\"}}\n", want: []string{"error: cfg.slot: contradicts remote_tsap"}},
		"bad tsap":      {drivers: "d: {kind: static, endpoint_id: plc, proto: s7, cfg: {polling: 1s, remote_tsap: \"0200\"}}\n", want: []string{"error: cfg.remote_tsap: expected two hexadecimal bytes", "no driver uses"}},
		"pdu":           {drivers: "d: {kind: static, endpoint_id: plc, proto: s7, cfg: {polling: 1s, pdu: 100}}\n", want: []string{"error: cfg.pdu: expected a number from 240 to 960", "no driver uses"}},
		"over udp":      {endpoints: "plc: {scheme: udp, host: 10.0.0.1, port: 102}\n", want: []string{"error: endpoint_id: plc is udp; S7 is spoken over tcp"}},
		"two drivers": {drivers: reader + strings.Replace(reader, "d:", "e:", 1), variables: level + strings.NewReplacer("tag: a", "tag: b", "driver_id: d", "driver_id: e").Replace(level),
			want: []string{"error: endpoint_id: 2 S7 drivers use plc (d, e)"}},
		"two connections": {endpoints: "plc: {scheme: tcp, host: 10.0.0.1, port: 102, opts: {max_conns: 2}}\n", drivers: reader + strings.Replace(reader, "d:", "e:", 1),
			variables: level + strings.NewReplacer("tag: a", "tag: b", "driver_id: d", "driver_id: e").Replace(level)},
		"bit":         {variables: variable("s7: DB1.DBX0.8", "datatype: bool"), want: []string{"error: address.s7: \"DB1.DBX0.8\": expected a bit"}},
		"no bit":      {variables: variable("db: 1, start: 0", "datatype: bool"), want: []string{"error: address.bit: missing"}},
		"width":       {variables: variable("s7: DB1.DBW4", "datatype: float32"), want: []string{"error: address.s7: \"DB1.DBW4\" has 2 bytes, a float32 has 4"}},
		"too short":   {variables: variable("db: 1, start: 4, size: 2", "datatype: float32"), want: []string{"error: address.size: 2, but a float32 needs 4"}},
		"too long":    {variables: variable("db: 1, start: 4, size: 8", "datatype: float32"), want: []string{"warning: address.size: 8"}},
		"area":        {variables: variable("type: s7_db, area: X, start: 4", "datatype: float32"), want: []string{"error: address.area: \"X\""}},
		"both forms":  {variables: variable("s7: DB1.DBD4, db: 1", "datatype: float32"), want: []string{"error: key address.start is missing", "error: db does not go with the other keys"}},
		"db and area": {variables: variable("area: M, db: 1, start: 4", "datatype: float32"), want: []string{"has no variables", "error: address.area: expected DB"}},
		"register":    {variables: variable("type: holding, addr: 1", "datatype: uint16"), want: []string{"error: address.type: holding"}},
		"datatype":    {variables: variable("s7: DB1.DBD4", "datatype: float16"), want: []string{"error: datatype: float16"}},
		"twice":       {variables: level + strings.Replace(level, "tag: a", "tag: b", 1), want: []string{"warning: address: DB1.DBD4 is read the same way by a"}},
		"writes":      {variables: strings.Replace(level, "access: R", "access: RW", 1), want: []string{"warning: access: RW, but the driver d has no enable_write"}},
		"no words":    {variables: variable("s7: DB1.DBD4", "byte_order: CDAB, datatype: float32"), want: []string{"warning: byte_order: has no effect on a variable of S7"}},
		"not Modbus": {drivers: "d: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n", variables: variable("s7: DB1.DBD4", "datatype: float32"),
			want: []string{"address.type"}},
		"not of Modbus": {drivers: "d: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n", variables: variable("type: holding, addr: 1", "datatype: dtl"),
			want: []string{"datatype"}},
	} {
		t.Run(name, func(t *testing.T) {
			finds(t, map[string]string{"endpoints.yml": cmp.Or(c.endpoints, plc), "drivers.yml": cmp.Or(c.drivers, reader), "variables.yml": cmp.Or(c.variables, level)}, c.want)
		})
	}
}
