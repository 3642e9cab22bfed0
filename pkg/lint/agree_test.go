package lint

import (
	"math/rand/v2"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
)

// TestAgreesWithDriver: lint refuses exactly the variables and settings that the
// driver refuses, and warns where it does.
func TestAgreesWithDriver(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	types := []config.DataType{config.TypeBool, config.TypeUint16, config.TypeInt16, config.TypeUint32, config.TypeInt32, config.TypeUint64, config.TypeInt64,
		config.TypeFloat32, config.TypeFloat64, config.TypeString, config.TypeBinary, config.TypeBCD16, config.TypeBCD32}
	tables := []config.AddressType{config.AddrHolding, config.AddrInput, config.AddrCoil, config.AddrDiscrete}
	addrs := []uint32{0, 1, 9999, 10000, 10001, 19999, 20000, 30000, 30001, 39999, 40000, 40001, 49999, 50000, 65532, 65535, 65536,
		100000, 100001, 165536, 165537, 300001, 365536, 400001, 465533, 465536}
	lens := []uint16{0, 0, 1, 2, 4, 16, 17, 32, 64, 65, 120, 121, 123, 124, 125, 126, 1968, 1969, 2000}
	refused := 0
	for range 50_000 {
		endpoint := config.Endpoint{Scheme: "tcp", Host: "h", Port: 502}
		if rng.IntN(4) == 0 {
			endpoint = config.Endpoint{Scheme: "serial", Host: "/dev/ttyS0"}
		}
		cfg := map[string]any{"unit_id": int64(rng.IntN(3)), "polling": "1s", "enable_write": true}
		if rng.IntN(4) == 0 {
			cfg["addressing"] = "protocol"
		}
		if rng.IntN(4) == 0 {
			cfg["max_regs_per_req"] = int64(1 + rng.IntN(125))
		}
		v := config.Variable{Tag: "t", DriverID: "d", Access: []config.Access{config.AccessR, config.AccessRW, config.AccessW}[rng.IntN(3)],
			Datatype: types[rng.IntN(len(types))],
			Address:  config.Address{Type: tables[rng.IntN(len(tables))], Addr: addrs[rng.IntN(len(addrs))], Len: lens[rng.IntN(len(lens))]}}
		if bits := v.Address.Type == config.AddrCoil || v.Address.Type == config.AddrDiscrete; !bits && rng.IntN(8) == 0 {
			bit := uint8(rng.IntN(16))
			v.Address.Bit = &bit
		}
		settings, err := modbus.ParseSettings(cfg, endpoint)
		if err != nil {
			t.Fatal(err)
		}
		_, warnings, err := settings.Resolve(&v)
		r := &Report{}
		modbusChecker{}.Check(&Driver{ID: "d", Item: config.Driver{Kind: config.KindStatic, Proto: "modbus", Cfg: cfg}, Endpoint: &endpoint, Variables: []config.Variable{v}}, r)
		errs, warned := r.findings.Count()
		if (err != nil) != (errs > 0) || err == nil && (len(warnings) > 0) != (warned > 0) {
			t.Fatalf("%+v with %v on %s:\ndriver: %v %v\nlint: %v", v, cfg, endpoint.Scheme, err, warnings, r.findings)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 5_000 || refused > 45_000 {
		t.Errorf("%d of 50,000 were refused; the test tests little", refused)
	}
}
