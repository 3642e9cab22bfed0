package modbus

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

const schemaFile = "../../../schemas/drivers/modbus.schema.json"

func TestSettings(t *testing.T) {
	serial := config.Endpoint{Scheme: "serial", Host: "/dev/ttyUSB0", Opts: map[string]string{"baud": "19200", "timeout": "300ms"}}
	tls := config.Endpoint{Scheme: "tls+tcp", Opts: map[string]string{"timeout": "2s"}}
	minimal := map[string]any{"unit_id": 1, "polling": "1s"}
	base := Settings{UnitID: 1, Polling: time.Second, MaxRegs: 120, Merge: new(true), MaxInflight: 1, Retry: 3, Timeout: time.Second,
		BackoffMax: 30 * time.Second, Framing: FramingTCP, Addressing: AddressingModicon, VerifyWrite: true, WriteFunc: WriteAuto,
		CloseAfter: CloseNever, OnTimeout: TimeoutAuto, AnswerUnit: AnswerOwn, AcceptTransaction: TransactionOwn, Echo: EchoAuto,
		WriteTimeout: 2 * time.Second, BitWrite: BitAuto}
	with := func(change func(*Settings)) Settings {
		s := base
		change(&s)
		return s
	}
	for _, c := range []struct {
		name string
		cfg  map[string]any
		ep   config.Endpoint
		want Settings
	}{
		{"defaults", minimal, config.Endpoint{}, base},
		{"the endpoint's timeout", minimal, tls, with(func(s *Settings) { s.Timeout = 2 * time.Second })},
		{"a serial line", minimal, serial, with(func(s *Settings) {
			s.Serial, s.Framing, s.Timeout = true, FramingRTU, 300*time.Millisecond
		})},
		{"everything", map[string]any{
			"unit_id": 255.0, "polling": "1m30s", "max_regs_per_req": 50, "max_gap": 4, "max_inflight": 8, "retry": 0,
			"timeout": "250ms", "backoff_max": "5s", "endian": "little", "byte_order": "CDAB", "framing": "tcp",
			"merge": false, "blocks": []any{map[string]any{"type": "input", "start": 7, "len": 3}},
			"addressing": "protocol", "enable_write": true, "verify_write": false, "write_func": "multiple",
			"connect_delay": "2s", "on_timeout": "keep", "answer_unit": 7, "echo": "none",
			"write_retry": 2, "write_timeout": "3s", "verify_delay": "40ms", "bit_write": "rmw",
		}, tls, Settings{UnitID: 255, Polling: 90 * time.Second, MaxRegs: 50, MaxGap: 4, Merge: new(false), MaxInflight: 8, Timeout: 250 * time.Millisecond,
			BackoffMax: 5 * time.Second, Order: CDAB, Framing: FramingTCP, Addressing: AddressingProtocol, EnableWrite: true, WriteFunc: WriteMultiple,
			Blocks: []Block{{config.AddrInput, 7, 3}}, ConnectDelay: 2 * time.Second, CloseAfter: CloseNever, OnTimeout: TimeoutKeep, AnswerUnit: "7",
			AcceptTransaction: TransactionOwn, Echo: EchoNone,
			WriteRetry: 2, WriteTimeout: 3 * time.Second, VerifyDelay: 40 * time.Millisecond, BitWrite: BitReadModifyWrite}},
		{"any transaction", map[string]any{"unit_id": 1, "polling": "1s", "accept_transaction": "any", "close_after": "exchange"}, config.Endpoint{},
			with(func(s *Settings) { s.AcceptTransaction, s.CloseAfter = TransactionAny, CloseExchange })},
		{"little", map[string]any{"unit_id": 1, "polling": "1s", "endian": "little"}, config.Endpoint{}, with(func(s *Settings) { s.Order = DCBA })},
		{"udp", map[string]any{"unit_id": 1, "polling": "1s", "framing": "rtu", "request_gap": "5ms"}, config.Endpoint{Scheme: "udp"},
			with(func(s *Settings) { s.datagram, s.Framing, s.RequestGap = true, FramingRTU, 5*time.Millisecond })},
		{"dtls", minimal, config.Endpoint{Scheme: "dtls"}, with(func(s *Settings) { s.datagram = true })},
		{"rtu+tcp", minimal, config.Endpoint{Scheme: "rtu+tcp"}, with(func(s *Settings) { s.Framing = FramingRTU })},
		{"ascii+serial", minimal, config.Endpoint{Scheme: "ascii+serial"}, with(func(s *Settings) { s.Serial, s.Framing = true, FramingASCII })},
	} {
		got, err := ParseSettings(c.cfg, c.ep)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, *got, cmp.AllowUnexported(Settings{}), cmpopts.EquateComparable()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestSettingsRefused: what is wrong is named, by the driver and, but for what
// depends on other keys, by the schema too.
func TestSettingsRefused(t *testing.T) {
	schema, err := jsonschema.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	serial := config.Endpoint{Scheme: "serial"}
	for _, c := range []struct {
		cfg    map[string]any
		ep     config.Endpoint
		want   string
		schema bool // refuses it too
	}{
		{map[string]any{"polling": "1s"}, serial, "cfg.unit_id: missing", true},
		{map[string]any{"unit_id": 1}, serial, "cfg.polling: missing", true},
		{map[string]any{"unit_id": 256}, serial, "cfg.unit_id: expected a number from 0 to 255, got 256", true},
		{map[string]any{"unit_id": 1, "answer_unit": 256}, serial, "cfg.answer_unit: ", true},
		{map[string]any{"unit_id": 1, "accept_transaction": "any"}, serial, "cfg.accept_transaction: any, but framing rtu has no transaction ids", false},
		{map[string]any{"unit_id": 1, "accept_transaction": "any", "max_inflight": 2}, config.Endpoint{},
			"cfg.accept_transaction: any contradicts max_inflight 2", false},
		{map[string]any{"unit_id": 1, "close_after": "exchange", "max_inflight": 2}, config.Endpoint{},
			"cfg.close_after: exchange contradicts max_inflight 2", false},
		{map[string]any{"unit_id": 300}, serial, "cfg.unit_id: expected a number from 0 to 255, got 300", true},
		{map[string]any{"unit_id": "1"}, serial, `cfg.unit_id: expected a whole number, got "1"`, true},
		{map[string]any{"polling": "1"}, serial, "cfg.polling: expected a duration", true},
		{map[string]any{"polling": "10us"}, serial, "cfg.polling: expected a duration of at least 1ms", false},
		{map[string]any{"max_regs_per_req": 126}, serial, "cfg.max_regs_per_req: expected a number from 1 to 125, got 126", true},
		{map[string]any{"max_gap": 124}, serial, "cfg.max_gap", true},
		{map[string]any{"max_inflight": 0}, serial, "cfg.max_inflight", true},
		{map[string]any{"retry": 11}, serial, "cfg.retry: expected a number from 0 to 10, got 11", true},
		{map[string]any{"timeout": "soon"}, serial, "cfg.timeout", true},
		{map[string]any{"endian": "middle"}, serial, "cfg.endian", true},
		{map[string]any{"byte_order": "ACBD"}, serial, "cfg.byte_order", true},
		{map[string]any{"framing": "xml"}, serial, "cfg.framing", true},
		{map[string]any{"addressing": "iec"}, serial, "cfg.addressing", true},
		{map[string]any{"write_func": "single"}, serial, "cfg.write_func", true},
		{map[string]any{"enable_write": "yes"}, serial, "cfg.enable_write: expected true or false", true},
		{map[string]any{"colour": "red"}, serial, "cfg.colour: unknown key colour", true},
		{map[string]any{"framing": "tcp"}, serial, "cfg.framing: tcp on a serial line", false},
		{map[string]any{"framing": "ascii"}, config.Endpoint{Scheme: "rtu+tcp"}, "cfg.framing: ascii, but the endpoint's scheme says rtu", false},
		{map[string]any{"unit_id": 255}, serial, "cfg.unit_id: 255 on a serial line", false},
		{map[string]any{"max_inflight": 2}, serial, "cfg.max_inflight: 2, but framing rtu", false},
		{map[string]any{"max_inflight": 2, "request_gap": "1ms"}, config.Endpoint{}, "cfg.request_gap: contradicts", false},
	} {
		if _, ok := c.cfg["unit_id"]; !ok && !strings.HasPrefix(c.want, "cfg.unit_id: missing") {
			c.cfg["unit_id"] = 1
		}
		if _, ok := c.cfg["polling"]; !ok && !strings.HasPrefix(c.want, "cfg.polling: missing") {
			c.cfg["polling"] = "1s"
		}
		if _, err := ParseSettings(c.cfg, c.ep); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.cfg, err, c.want)
		}
		if err := schema.Validate(c.cfg); (err != nil) != c.schema {
			t.Errorf("%v: the schema says %v", c.cfg, err)
		}
	}
}

// TestEverySettingIsRead: what the schema describes, Settings has.
func TestEverySettingIsRead(t *testing.T) {
	home := map[string]bool{"endian": true, "byte_order": true} // they make Order
	for i := range reflect.TypeFor[Settings]().NumField() {
		home[reflect.TypeFor[Settings]().Field(i).Tag.Get("json")] = true
	}
	for _, f := range config.Fields("drivers/modbus", nil) {
		if !home[f.Key()] {
			t.Errorf("cfg.%s of the schema has no field in Settings", f.Key())
		}
	}
}

func TestResolve(t *testing.T) {
	bit := func(n uint8) *uint8 { return &n }
	s := &Settings{MaxRegs: 120, Addressing: AddressingModicon}
	protocol := &Settings{MaxRegs: 120, Addressing: AddressingProtocol}
	broadcast := &Settings{MaxRegs: 120, Serial: true}
	for _, c := range []struct {
		s    *Settings
		typ  config.AddressType
		addr uint32
		len  uint16
		bit  *uint8
		data config.DataType
		acc  config.Access
		want string // the point, or the beginning of the error
		warn string
	}{
		{s, "holding", 0, 0, nil, "uint16", "R", "holding 0 (1 register)", ""},
		{s, "holding", 40001, 0, nil, "uint16", "R", "holding 0 (1 register)", ""},
		{s, "holding", 49999, 0, nil, "float", "R", "holding 9998 (2 registers)", ""},
		{s, "holding", 400001, 0, nil, "uint64", "R", "holding 0 (4 registers)", ""},
		{s, "holding", 465536, 0, nil, "uint16", "R", "holding 65535 (1 register)", ""},
		{s, "holding", 465536, 0, nil, "uint32", "R", "address.addr: holding 65535 (2 registers) ends at 65536", ""},
		{s, "holding", 40000, 0, nil, "uint16", "R", "holding 40000 (1 register)", ""},
		{s, "holding", 50000, 0, nil, "uint16", "R", "holding 50000 (1 register)", ""},
		{s, "holding", 70000, 0, nil, "uint16", "R", "address.addr: expected 0 to 65535 or Modicon notation, got 70000", ""},
		{s, "holding", 30001, 0, nil, "uint16", "R", "address.addr: 30001 is Modicon notation for input", ""},
		{protocol, "holding", 30001, 0, nil, "uint16", "R", "holding 30001 (1 register)", ""},
		{protocol, "holding", 40001, 0, nil, "uint16", "R", "holding 40001 (1 register)", ""},
		{protocol, "holding", 400001, 0, nil, "uint16", "R", "address.addr: expected 0 to 65535 or Modicon notation, got 400001", ""},
		{s, "input", 30001, 0, nil, "uint16", "R", "input 0 (1 register)", ""},
		{s, "input", 365536, 0, nil, "uint16", "R", "input 65535 (1 register)", ""},
		{s, "input", 40001, 0, nil, "uint16", "R", "address.addr: 40001 is Modicon notation for holding", ""},
		{s, "discrete", 10001, 0, nil, "bool", "R", "discrete 0 (1 bit)", ""},
		{s, "discrete", 100001, 0, nil, "bool", "R", "discrete 0 (1 bit)", ""},
		{s, "coil", 10001, 0, nil, "bool", "R", "address.addr: 10001 is Modicon notation for discrete", ""},
		{s, "coil", 1, 0, nil, "bool", "RW", "coil 1 (1 bit)", ""},
		{s, "coil", 1, 12, nil, "uint16", "RW", "coil 1 (12 bits)", ""},
		{s, "coil", 1, 17, nil, "uint16", "RW", "address.len: 17 bits, but a uint16 has at most 16", ""},
		{s, "coil", 1, 2, nil, "bool", "RW", "address.len: 2 bits, but a bool has at most 1", ""},
		{s, "coil", 1, 0, nil, "binary", "RW", "address.len: binary needs", ""},
		{s, "coil", 1, 0, nil, "float32", "RW", "datatype: float32 cannot be made of bits", ""},
		{s, "coil", 1, 0, nil, "colour", "RW", `datatype: "colour", expected bool`, ""},
		{s, "coil", 1, 0, bit(1), "bool", "R", "address.bit: a coil is a bit already", ""},
		{s, "coil", 65535, 2, nil, "uint16", "R", "address.addr: coil 65535 (2 bits) ends at 65536", ""},
		{s, "holding", 40001, 2, nil, "uint16", "R", "holding 0 (1 register)", "address.len: 2 registers, but uint16 needs 1"},
		{s, "holding", 0, 1, nil, "float32", "R", "address.len: 1, but float32 needs 2 registers", ""},
		{s, "holding", 0, 0, nil, "string", "R", "address.len: string needs", ""},
		{s, "holding", 0, 121, nil, "string", "R", "address.len: 121 registers do not fit one request", ""},
		{s, "holding", 0, 8, nil, "string", "R", "holding 0 (8 registers)", ""},
		{s, "holding", 0, 0, bit(3), "bool", "RW", "holding 0 (1 register) bit 3", ""},
		{s, "holding", 0, 0, bit(16), "bool", "R", "address.bit: 16 of a bool", ""},
		{s, "holding", 0, 0, bit(1), "uint16", "R", "address.bit: 1 of a uint16", ""},
		{s, "holding", 0, 0, nil, "colour", "R", `datatype: "colour"`, ""},
		{s, "input", 0, 0, nil, "uint16", "RW", "access: RW, but input is read-only; expected R", ""},
		{s, "opc_node", 0, 0, nil, "uint16", "R", "address.type: opc_node is not of Modbus; expected holding", ""},
		{broadcast, "holding", 0, 0, nil, "uint16", "RW", "access: RW, but unit_id 0 on a serial line", ""},
		{broadcast, "holding", 0, 0, nil, "uint16", "W", "holding 0 (1 register)", ""},
		{&Settings{MaxRegs: 125}, "holding", 0, 124, nil, "string", "RW", "address.len: 124, at most 123 registers can be written", ""},
	} {
		v := &config.Variable{Tag: "t", Access: c.acc, Datatype: c.data,
			Address: config.Address{Type: c.typ, Addr: c.addr, Len: c.len, Bit: c.bit}}
		p, warnings, err := c.s.Resolve(v)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != c.want || !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %s, want %s", v.Address, got, c.want)
		}
		var texts []string
		for _, w := range warnings {
			texts = append(texts, w.Error())
		}
		if w := strings.Join(texts, "; "); w != c.warn {
			t.Errorf("%+v: warned %q, want %q", v.Address, w, c.warn)
		}
	}
	v := &config.Variable{Datatype: "uint16", ByteOrder: "XYZ", Address: config.Address{Type: "holding"}}
	if _, _, err := s.Resolve(v); err == nil || !strings.HasPrefix(err.Error(), "byte_order: ") {
		t.Errorf("byte order XYZ: %v", err)
	}
}
