// Package config holds the gateway's three tables (endpoints, drivers,
// variables) and its settings as Go values: decoded strictly from YAML with
// positions in every error, checked against the schemas, hashed in a canonical
// form, and compared item by item.
package config

// Snapshot is one whole configuration. It is immutable once built.
type Snapshot struct {
	Endpoints map[string]Endpoint
	Drivers   map[string]Driver
	Variables []Variable                // sorted by tag, tags unique
	Settings  map[string]map[string]any // group ("bus", "connectors.mqtt") → fields

	// SHA256 is the hex hash of the canonical form: what identifies a document.
	SHA256 string
	// Rev is the etcd revision of the commit record; 0 with source: dir.
	Rev uint64
}

// Endpoint is an item of the endpoints table: where a device is reached.
type Endpoint struct {
	Scheme string            `json:"scheme" yaml:"scheme"` // outermost first: "tls+tcp"
	Host   string            `json:"host" yaml:"host"`     // host name, address, or serial device path
	Port   uint16            `json:"port,omitempty" yaml:"port,omitempty"`
	Opts   map[string]string `json:"opts,omitempty" yaml:"opts,omitempty"` // as the query of an endpoint URL
}

// DriverKind says where a driver's code comes from.
type DriverKind string

// The kinds of drivers.
const (
	KindStatic DriverKind = "static" // built in
	KindDyn    DriverKind = "dyn"    // a plugin process
	KindWasm   DriverKind = "wasm"   // a WebAssembly module
)

// Driver is an item of the drivers table: what speaks to an endpoint.
type Driver struct {
	Kind       DriverKind     `json:"kind" yaml:"kind"`
	Path       string         `json:"path,omitempty" yaml:"path,omitempty"` // of the plugin; kinds dyn and wasm only
	EndpointID string         `json:"endpoint_id" yaml:"endpoint_id"`
	Proto      string         `json:"proto" yaml:"proto"` // "modbus", "opcua", …
	Cfg        map[string]any `json:"cfg,omitempty" yaml:"cfg,omitempty"`
}

// Access says whether a variable may be read, written or both.
type Access string

// The rights.
const (
	AccessR  Access = "R"
	AccessW  Access = "W"
	AccessRW Access = "RW"
)

// Readable reports whether a variable with this access is polled.
func (a Access) Readable() bool { return a == AccessR || a == AccessRW }

// Writable reports whether a variable with this access may be written.
func (a Access) Writable() bool { return a == AccessW || a == AccessRW }

// DataType is how a device's words are read.
type DataType string

// The data types. "float" in a table means Float32.
const (
	TypeBool    DataType = "bool"
	TypeUint16  DataType = "uint16"
	TypeInt16   DataType = "int16"
	TypeUint32  DataType = "uint32"
	TypeInt32   DataType = "int32"
	TypeUint64  DataType = "uint64"
	TypeInt64   DataType = "int64"
	TypeFloat32 DataType = "float32"
	TypeFloat64 DataType = "float64"
	TypeString  DataType = "string"
	TypeBinary  DataType = "binary"
	TypeBCD16   DataType = "bcd16" // 4 decimal digits in one register
	TypeBCD32   DataType = "bcd32" // 8 decimal digits in two registers
)

// AddressType is the shape of an [Address].
type AddressType string

// The address types.
const (
	AddrHolding  AddressType = "holding"
	AddrInput    AddressType = "input"
	AddrCoil     AddressType = "coil"
	AddrDiscrete AddressType = "discrete"
	AddrOPCNode  AddressType = "opc_node"
	AddrS7DB     AddressType = "s7_db"
)

// Address says where in the device a variable is. Which fields count depends on
// Type.
type Address struct {
	Type AddressType `json:"type" yaml:"type"`

	// Modbus. Addr is as written in the table: Modicon notation (40001) or the
	// zero-based protocol address; the driver resolves it.
	Addr uint32 `json:"addr,omitempty" yaml:"addr,omitempty"`
	Len  uint16 `json:"len,omitempty" yaml:"len,omitempty"` // registers or bits; 0: what the datatype needs
	Bit  *uint8 `json:"bit,omitempty" yaml:"bit,omitempty"` // 0–15: one bit of a register, for bool

	// OPC UA.
	Node string `json:"node,omitempty" yaml:"node,omitempty"`

	// Siemens S7.
	Area  string `json:"area,omitempty" yaml:"area,omitempty"`
	DB    uint16 `json:"db,omitempty" yaml:"db,omitempty"`
	Start uint32 `json:"start,omitempty" yaml:"start,omitempty"` // byte offset
	Size  uint16 `json:"size,omitempty" yaml:"size,omitempty"`   // bytes
}

// Report says when a polled value becomes a frame.
type Report string

// The report rules. The zero value means always.
const (
	ReportAlways Report = "always"
	ReportChange Report = "change"
)

// Variable is an item of the variables table: one tag.
type Variable struct {
	Tag      string   `json:"tag" yaml:"tag"`
	DriverID string   `json:"driver_id" yaml:"driver_id"`
	Access   Access   `json:"access" yaml:"access"`
	Address  Address  `json:"address" yaml:"address"`
	Datatype DataType `json:"datatype" yaml:"datatype"`
	Scale    string   `json:"scale,omitempty" yaml:"scale,omitempty"` // expression in "value"
	Unit     string   `json:"unit,omitempty" yaml:"unit,omitempty"`

	ByteOrder string   `json:"byte_order,omitempty" yaml:"byte_order,omitempty"` // wins over the driver's
	Deadband  float64  `json:"deadband,omitempty" yaml:"deadband,omitempty"`     // in engineering units
	Report    Report   `json:"report,omitempty" yaml:"report,omitempty"`
	Heartbeat Duration `json:"heartbeat,omitempty" yaml:"heartbeat,omitempty"` // with report: change, a frame at least this often
	Polling   Duration `json:"polling,omitempty" yaml:"polling,omitempty"`     // own interval; 0: the driver's

	VerifyAddress *Address `json:"verify_address,omitempty" yaml:"verify_address,omitempty"` // where a write is read back; nil: at Address

	// Modbus: how it is asked for.
	NoMerge bool  `json:"-" yaml:"-"`                            // "merge: false": with a request of its own
	Block   Block `json:"block,omitzero" yaml:"block,omitempty"` // with a request for exactly that
}

// Block is a range that a device answers only as a whole. The zero value is none.
type Block struct {
	Start uint32 `json:"start" yaml:"start"` // in the notation of an address's addr
	Len   uint16 `json:"len" yaml:"len"`     // registers or bits
}
