package config

import (
	"math"
	"strings"
)

// Snapshot is the decoded view of a [Document]: one whole configuration. It is
// immutable once built.
type Snapshot struct {
	Endpoints map[string]Endpoint
	Drivers   map[string]Driver
	Variables []Variable                // sorted by tag, tags unique
	Settings  map[string]map[string]any // group ("bus", "connectors.mqtt") → fields

	// SHA256 is the hex hash of the canonical form: what identifies a document.
	SHA256 string
	// Rev is the etcd revision of the commit record; 0 with source: dir.
	Rev uint64
	// Author and Message are the commit's: who made it, as far as is known, and why.
	Author, Message string

	origin origin

	// The layers that files have, by ids. Only a document takes them from here: no gateway
	// gets a snapshot that has any.
	groups, gateways map[string]map[string]any
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
	Path       string         `json:"path,omitempty" yaml:"path,omitempty"`     // of the plugin; kinds dyn and wasm only
	SHA256     string         `json:"sha256,omitempty" yaml:"sha256,omitempty"` // of the file at Path, in hex; "": any
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

	TypeUint8   DataType = "uint8" // half a register
	TypeInt8    DataType = "int8"
	TypeUint24  DataType = "uint24" // the lower three bytes of two registers
	TypeInt24   DataType = "int24"
	TypeUint48  DataType = "uint48"
	TypeInt48   DataType = "int48"
	TypeFloat16 DataType = "float16"
	TypeBCD48   DataType = "bcd48"
	TypeBCD64   DataType = "bcd64"
	TypeMod10k  DataType = "mod10k" // four decimal digits in each of two to four registers, in binary

	TypeJSON DataType = "json" // what an OPC UA server has: numbers, text, arrays of them

	// Dates and times, as text.
	TypeUnix32     DataType = "unix32"     // seconds since 1970
	TypeUnix64     DataType = "unix64"     // seconds since 1970
	TypeUnix64MS   DataType = "unix64_ms"  // milliseconds since 1970
	TypeYMDHMS     DataType = "ymdhms"     // six registers: year, month, day, hour, minute, second
	TypeS7DT       DataType = "s7_dt"      // DATE_AND_TIME of Siemens S7, in BCD
	TypeCP56Time2a DataType = "cp56time2a" // IEC 60870-5-4, of meters

	// Siemens S7.
	TypeChar    DataType = "char"    // characters without a length before them, as text
	TypeWString DataType = "wstring" // WSTRING, as text
	TypeS5Time  DataType = "s5time"  // milliseconds
	TypeTime    DataType = "time"    // milliseconds
	TypeLTime   DataType = "ltime"   // nanoseconds
	TypeDate    DataType = "date"    // as text
	TypeTOD     DataType = "tod"     // time of day, as text
	TypeDTL     DataType = "dtl"     // date and time to the nanosecond, as text
)

// Limits are the least and the greatest value of an integer data type.
type Limits struct {
	Min int64
	Max uint64
}

// Integer returns the limits of a data type of integers; ok is false for others. A
// mod10k holds less in fewer than four registers.
func (t DataType) Integer() (l Limits, ok bool) {
	switch t {
	case TypeUint8:
		return unsigned(8), true
	case TypeUint16:
		return unsigned(16), true
	case TypeUint24:
		return unsigned(24), true
	case TypeUint32:
		return unsigned(32), true
	case TypeUint48:
		return unsigned(48), true
	case TypeUint64:
		return unsigned(64), true
	case TypeInt8:
		return signed(8), true
	case TypeInt16:
		return signed(16), true
	case TypeInt24:
		return signed(24), true
	case TypeInt32, TypeTime:
		return signed(32), true
	case TypeInt48:
		return signed(48), true
	case TypeInt64, TypeLTime:
		return signed(64), true
	case TypeBCD16:
		return Limits{Max: 9999}, true
	case TypeBCD32:
		return Limits{Max: 99999999}, true
	case TypeBCD48:
		return Limits{Max: 999999999999}, true
	case TypeBCD64, TypeMod10k:
		return Limits{Max: 9999999999999999}, true
	case TypeS5Time:
		return Limits{Max: 9990000}, true
	}
	return Limits{}, false
}

func unsigned(bits int) Limits { return Limits{Max: math.MaxUint64 >> (64 - bits)} }

func signed(bits int) Limits {
	return Limits{math.MinInt64 >> (64 - bits), math.MaxInt64 >> (64 - bits)}
}

// Wide reports whether a float64 would round some of the integers.
func (l Limits) Wide() bool { return l.Max > 1<<53 || l.Min < -1<<53 }

// Float reports whether values of the data type are floating-point numbers.
func (t DataType) Float() bool { return t == TypeFloat16 || t == TypeFloat32 || t == TypeFloat64 }

// Numeric reports whether values of the data type are numbers.
func (t DataType) Numeric() bool {
	_, integer := t.Integer()
	return integer || t.Float()
}

// Text reports whether values of the data type are text: strings, dates and times.
func (t DataType) Text() bool {
	switch t {
	case TypeString, TypeUnix32, TypeUnix64, TypeUnix64MS, TypeYMDHMS, TypeS7DT, TypeCP56Time2a, TypeChar, TypeWString, TypeDate, TypeTOD, TypeDTL:
		return true
	}
	return false
}

// Numbers is a list of numbers as text, with blanks between them in shortest form:
// unlike a slice it can be compared. Empty: none.
type Numbers string

// List returns the numbers: int64, uint64 or float64.
func (n Numbers) List() []any {
	var out []any
	for _, text := range strings.Fields(string(n)) {
		if v, err := resolvePlain(text); err == nil { // they were numbers when they were read
			out = append(out, v)
		}
	}
	return out
}

// MarshalJSON writes one number as such, several as a list.
func (n Numbers) MarshalJSON() ([]byte, error) { return n.appendCanonical(nil), nil }

func (n Numbers) appendCanonical(b []byte) []byte {
	list := strings.Fields(string(n))
	if len(list) == 1 {
		return append(b, list[0]...)
	}
	return append(append(append(b, '['), strings.Join(list, ",")...), ']')
}

// MarshalYAML writes one number as such, several as a list.
func (n Numbers) MarshalYAML() (any, error) {
	if list := n.List(); len(list) != 1 {
		return list, nil
	}
	return n.List()[0], nil
}

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
	AddrPlugin   AddressType = "plugin" // as a driver that isn't built in says
)

// Address says where in the device a variable is. Which fields count depends on
// Type.
type Address struct {
	Type AddressType `json:"type" yaml:"type"`

	// Modbus. Addr is as written in the table: Modicon notation (40001) or the
	// zero-based protocol address; the driver resolves it.
	Addr uint32 `json:"addr,omitempty" yaml:"addr,omitempty"`
	Len  uint16 `json:"len,omitempty" yaml:"len,omitempty"` // registers or bits; 0: what the datatype needs
	Bit  *uint8 `json:"bit,omitempty" yaml:"bit,omitempty"` // 0–15: one bit of a register, for bool; S7: 0–7, of a byte

	Addr2 uint32 `json:"addr2,omitempty" yaml:"addr2,omitempty"` // of the second register, if it isn't the next; 0: it is
	Byte  string `json:"byte,omitempty" yaml:"byte,omitempty"`   // "hi" or "lo" half of a register, for int8 and uint8
	Chars uint8  `json:"chars,omitempty" yaml:"chars,omitempty"` // of a string in each register; 0: 2

	// OPC UA.
	Node  string `json:"node,omitempty" yaml:"node,omitempty"`
	Index Index  `json:"index,omitempty" yaml:"index,omitempty"` // the one element of an array

	// Siemens S7.
	Area  string `json:"area,omitempty" yaml:"area,omitempty"`
	DB    uint16 `json:"db,omitempty" yaml:"db,omitempty"`
	Start uint32 `json:"start,omitempty" yaml:"start,omitempty"` // byte offset
	Size  uint16 `json:"size,omitempty" yaml:"size,omitempty"`   // bytes; 0: what the datatype needs
	S7    string `json:"s7,omitempty" yaml:"s7,omitempty"`       // all of that as engineers write it: DB1.DBD4; Bit is part of it

	// A driver that isn't built in: JSON in canonical form, a text or an object. As text an
	// address can be compared.
	Plugin string `json:"plugin,omitempty" yaml:"plugin,omitempty"`
}

// Index is the place of an array's element, plus 1; 0: none, the whole array.
type Index uint32

// Of returns the place as tables have it, from 0.
func (i Index) Of() (n int, ok bool) { return int(i) - 1, i > 0 }

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

	ScaleFrom string   `json:"scale_from,omitempty" yaml:"scale_from,omitempty"` // tag that holds a power of ten
	NA        Numbers  `json:"na,omitempty" yaml:"na,omitempty"`                 // raw values that mean "not available"
	Charset   string   `json:"charset,omitempty" yaml:"charset,omitempty"`       // of a string; "": utf-8
	Pad       string   `json:"pad,omitempty" yaml:"pad,omitempty"`               // "left" or "right"; "": right
	ByteOrder string   `json:"byte_order,omitempty" yaml:"byte_order,omitempty"` // wins over the driver's
	Deadband  float64  `json:"deadband,omitempty" yaml:"deadband,omitempty"`     // in engineering units
	Report    Report   `json:"report,omitempty" yaml:"report,omitempty"`
	Heartbeat Duration `json:"heartbeat,omitempty" yaml:"heartbeat,omitempty"` // with report: change, a frame at least this often
	Polling   Duration `json:"polling,omitempty" yaml:"polling,omitempty"`     // own interval; 0: the driver's

	VerifyAddress *Address `json:"verify_address,omitempty" yaml:"verify_address,omitempty"` // where a write is read back; nil: at Address

	// Modbus: how it is asked for.
	Merge Choice `json:"merge,omitempty" yaml:"merge,omitempty"` // whether with others; wins over the driver's
	Block Block  `json:"block,omitzero" yaml:"block,omitempty"`  // with a request for exactly that
}

// Choice is a boolean that may be left open.
type Choice string

// The choices.
const (
	Open Choice = ""
	Yes  Choice = "true"
	No   Choice = "false"
)

// Block is a range that a device answers only as a whole. The zero value is none.
type Block struct {
	Start uint32 `json:"start" yaml:"start"` // in the notation of an address's addr
	Len   uint16 `json:"len" yaml:"len"`     // registers or bits
}
