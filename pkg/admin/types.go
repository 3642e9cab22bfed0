package admin

import (
	"encoding/json"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The structs below are what the commands print with -o json: names, order and
// meaning of their fields are stable, new ones are added at the end.

// Status sums up a gateway.
type Status struct {
	Gateway      string      `json:"gateway"`
	Tenant       string      `json:"tenant"`
	Device       string      `json:"device"`
	State        string      `json:"state"`
	Started      time.Time   `json:"started,omitzero"`
	PID          int64       `json:"pid"`
	Version      string      `json:"version"`
	ConfigSource string      `json:"config_source,omitempty"`
	ConfigRev    uint64      `json:"config_rev"`
	ConfigSHA256 string      `json:"config_sha256,omitempty"`
	ConfigState  string      `json:"config_state,omitempty"`
	Parts        []PartCount `json:"parts"`
	Problems     []Problem   `json:"problems"`
}

// PartCount counts the parts of a kind that are in one state.
type PartCount struct {
	Part  string `json:"part"` // "endpoints", "drivers", "connectors"
	State string `json:"state"`
	Count int    `json:"count"`
}

// Problem is something that a person should look at.
type Problem struct {
	Part  string    `json:"part"` // "driver", "endpoint", "connector", "config", "bus"
	Name  string    `json:"name"`
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
	Hint  string    `json:"hint,omitempty"` // the command or setting that may mend it
}

// Version identifies a build.
type Version struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	APIMinor uint32 `json:"api_minor"`
}

// Endpoint is the state of one endpoint and its pool.
type Endpoint struct {
	ID         string    `json:"id"`
	URL        string    `json:"url"`   // without credentials
	State      string    `json:"state"` // "idle", "up", "down", "paused", "draining"
	Since      time.Time `json:"since,omitzero"`
	Error      string    `json:"error,omitempty"`
	Open       int       `json:"open"` // connections
	InUse      int       `json:"in_use"`
	Max        int       `json:"max"`
	Reconnects uint64    `json:"reconnects"`
	Drivers    []string  `json:"drivers"`
}

// ModbusQuestion is one read of a Modbus device.
type ModbusQuestion struct {
	Unit     uint8
	Function uint8 // 1 to 4
	Addr     uint16
	Count    uint16
	Framing  string        // "": that of the endpoint's driver
	Timeout  time.Duration // of the answer; 0: that of the endpoint's driver
	Around   bool          // ask for the items just before and behind, too
}

// ModbusAnswer is what came of a ModbusQuestion.
type ModbusAnswer struct {
	Connect time.Duration // until the connection was free
	Took    time.Duration
	Addr    uint16 // of the first item of Data
	Count   uint16
	Data    []byte   // registers as they came, or packed bits
	Refusal string   // why there is no data: the device's exception, or silence
	Hints   []string // settings that would suit the device
}

// ModbusFound is what a scan learned of one unit.
type ModbusFound struct {
	Unit      uint8
	Found     bool
	Took      time.Duration
	Exception string // that it answered; "": it gave a value
}

// Driver is the state of one driver.
type Driver struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Proto     string    `json:"proto"`
	Endpoint  string    `json:"endpoint"`
	State     string    `json:"state"` // as driver.State
	Since     time.Time `json:"since,omitzero"`
	Error     string    `json:"error,omitempty"`
	Points    int       `json:"points"`
	Polls     uint64    `json:"polls"`
	Errors    uint64    `json:"errors"`
	Overruns  uint64    `json:"overruns"`
	FirstRead time.Time `json:"first_read,omitzero"`
	LastRead  time.Time `json:"last_read,omitzero"`

	Bad          int          `json:"bad"`     // of the points
	Retries      uint64       `json:"retries"` // requests repeated
	Cycles       uint64       `json:"cycles"`  // poll cycles that were due, those skipped among them
	LastError    string       `json:"last_error,omitempty"`
	LastErrorAt  time.Time    `json:"last_error_at,omitzero"`
	LatencyP50Ms float64      `json:"latency_p50_ms"` // of the last answers
	LatencyP99Ms float64      `json:"latency_p99_ms"`
	LastMinute   DriverMinute `json:"last_minute"`
}

// DriverMinute counts what a driver did in the last minute.
type DriverMinute struct {
	Cycles   uint64 `json:"cycles"`
	Overruns uint64 `json:"overruns"`
	Polls    uint64 `json:"polls"`
	Errors   uint64 `json:"errors"`
	Retries  uint64 `json:"retries"`
}

// Fact is one line of a diagnosis.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Tag is a tag with its last value.
type Tag struct {
	Name     string
	Driver   string
	Unit     string
	Access   string // "R", "W", "RW"
	Datatype string
	Address  string // as the device's protocol counts: "holding 0"
	Known    bool   // false: no value yet
	Value    frame.Value
	Quality  frame.Quality
	TS       int64  // source time, Unix nanoseconds
	Frames   uint64 // published since the driver started

	Reason      string    // why it is bad, as far as is known; "": it is not
	Hint        string    // what may mend that
	ReasonSince time.Time // zero: not known
}

// MarshalJSON writes the value as a payload does, and the time as RFC 3339.
func (t Tag) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name     string          `json:"tag"`
		Driver   string          `json:"driver"`
		Value    json.RawMessage `json:"value"`
		Unit     string          `json:"unit,omitempty"`
		Quality  string          `json:"quality,omitempty"`
		Time     time.Time       `json:"time,omitzero"`
		Access   string          `json:"access"`
		Datatype string          `json:"datatype"`
		Address  string          `json:"address"`
		Frames   uint64          `json:"frames"`
		Reason   string          `json:"reason,omitempty"`
		Hint     string          `json:"hint,omitempty"`
		Since    time.Time       `json:"reason_since,omitzero"`
	}{t.Name, t.Driver, t.Value.AppendJSON(nil), t.Unit, t.qualityName(), unixTime(t.TS), t.Access, t.Datatype, t.Address, t.Frames,
		t.Reason, t.Hint, t.ReasonSince})
}

func (t Tag) qualityName() string {
	if !t.Known {
		return ""
	}
	return t.Quality.String()
}

// Reading is a value read from the device on demand.
type Reading struct {
	Raw     []byte // as the device sent it
	Value   frame.Value
	Quality frame.Quality
	TS      int64 // Unix nanoseconds
}

// MarshalJSON writes the value as a payload does, and the raw bytes in hex.
func (r Reading) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Value   json.RawMessage `json:"value"`
		Quality string          `json:"quality"`
		Time    time.Time       `json:"time,omitzero"`
		Raw     string          `json:"raw"`
	}{r.Value.AppendJSON(nil), r.Quality.String(), unixTime(r.TS), hexText(r.Raw)})
}

// WriteResult is what became of a write.
type WriteResult struct {
	ReadBack frame.Value // none: not verified
	TS       int64       // when the device confirmed it, Unix nanoseconds
	Note     string      // how it is known, or what was odd
}

// MarshalJSON writes the value as a payload does.
func (r WriteResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ReadBack json.RawMessage `json:"read_back"`
		Time     time.Time       `json:"time,omitzero"`
		Note     string          `json:"note,omitempty"`
	}{r.ReadBack.AppendJSON(nil), unixTime(r.TS), r.Note})
}

// BusStats is the state of the log.
type BusStats struct {
	Epoch              string     `json:"epoch"`
	FirstSeq           uint64     `json:"first_seq"` // the oldest frame in the log; LastSeq + 1 if there is none
	LastSeq            uint64     `json:"last_seq"`
	DurableSeq         uint64     `json:"durable_seq"` // the last frame that survives a crash
	RingUsed           uint64     `json:"ring_used"`   // frames of the ring that the slowest consumer has not read
	WALBytes           uint64     `json:"wal_bytes"`
	Consumers          []Consumer `json:"consumers"`
	RingSize           uint64     `json:"ring_size"`
	WALMaxBytes        uint64     `json:"wal_max_bytes"`
	DiskBytes          uint64     `json:"disk_bytes"` // that the log takes on the disk
	FreeBytes          uint64     `json:"free_bytes"` // left on the disk
	WriteAmplification float64    `json:"write_amplification"`
	Overflow           string     `json:"overflow"`
	Paused             bool       `json:"paused"` // drivers wait for room
	DiskFull           bool       `json:"disk_full"`
}

// Consumer is a reader's place in the log.
type Consumer struct {
	Name        string    `json:"name"`
	AckSeq      uint64    `json:"ack_seq"`
	Lag         uint64    `json:"lag"`    // frames
	Parked      bool      `json:"parked"` // no connector of this name runs
	ParkedSince time.Time `json:"parked_since,omitzero"`
}

// Parked is a message that a peer refused and that was put aside.
type Parked struct {
	Consumer string    `json:"consumer"`
	ID       uint64    `json:"id"` // unique for the consumer
	FirstSeq uint64    `json:"first_seq"`
	LastSeq  uint64    `json:"last_seq"`
	Frames   uint64    `json:"frames"`
	Topic    string    `json:"topic"` // on which it was refused
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time,omitzero"` // when it was put aside
	Retry    bool      `json:"retry"`         // it is to be sent again
}

// Range is a part of the log: the frames for which all of it holds. What is zero
// is open; the end is then the newest frame there is at the time of the call.
type Range struct {
	FromSeq  uint64
	FromTime time.Time // source time
	ToSeq    uint64    // included
	ToTime   time.Time // source time, not included
	Filter   frame.Filter
}

// TailPart is a piece of the live frames.
type TailPart struct {
	Batches []*frame.Batch
	Dropped uint64 // frames that this client was too slow for, in all
}

// ReplayPart is a piece of a replay.
type ReplayPart struct {
	Batches []*frame.Batch
	LastSeq uint64   // where the replay ends
	Damages []Damage // left out, since they cannot be read; in the last part
}

// ReplayProgress says how far a replay through a connector is.
type ReplayProgress struct {
	Replay  string `json:"replay"` // its id
	Topic   string `json:"topic"`
	Frames  uint64 `json:"frames"` // sent so far
	Seq     uint64 `json:"seq"`
	LastSeq uint64 `json:"last_seq"`
}

// ExportSummary says what an export holds.
type ExportSummary struct {
	Frames  uint64   `json:"frames"`
	Missing []Damage `json:"missing"` // damaged in the log that it was made from
}

// GC says how to trim the log.
type GC struct {
	KeepBytes uint64
	DryRun    bool
	Force     bool // unacknowledged frames too
}

// GCResult is what was, or would be, deleted.
type GCResult struct {
	Frames    uint64   `json:"frames"`
	Bytes     uint64   `json:"bytes"`
	FirstSeq  uint64   `json:"first_seq"`  // the oldest frame afterwards
	KeptBytes uint64   `json:"kept_bytes"` // what the log holds afterwards
	Unacked   uint64   `json:"unacked"`    // deleted frames that a consumer has not acknowledged
	Blocked   uint64   `json:"blocked"`    // frames that were kept since a consumer has not acknowledged them
	Consumers []string `json:"consumers"`  // that miss or block frames
}

// SettingChange is what a setting was and is.
type SettingChange struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// CheckReport is what a check of the log found.
type CheckReport struct {
	Epoch    string   `json:"epoch"`
	FirstSeq uint64   `json:"first_seq"`
	LastSeq  uint64   `json:"last_seq"`
	Blocks   uint64   `json:"blocks"`
	Frames   uint64   `json:"frames"` // that can be read
	Bytes    uint64   `json:"bytes"`
	Damages  []Damage `json:"damages"`
	Gaps     []Gap    `json:"gaps"` // known
	// Of a repair only:
	Repaired  bool   `json:"repaired,omitempty"`
	Preserved string `json:"preserved,omitempty"` // where the damaged parts were put
}

// Gap is a run of frames that is known to be lost.
type Gap struct {
	FirstSeq uint64    `json:"first_seq"`
	LastSeq  uint64    `json:"last_seq"`
	Reason   string    `json:"reason"`             // "overflow", "parked", "damaged", "gc"
	Consumer string    `json:"consumer,omitempty"` // the only one that misses them; "": gone for all
	Time     time.Time `json:"time,omitzero"`
}

// Damage is a part of the log that cannot be read.
type Damage struct {
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	Text     string `json:"text"`
}

// Connector is the state of one connector.
type Connector struct {
	Name           string    `json:"name"`
	Kind           string    `json:"kind"`
	State          string    `json:"state"` // as connector.Status
	Since          time.Time `json:"since,omitzero"`
	Error          string    `json:"error,omitempty"`
	Peer           string    `json:"peer"`
	Reconnects     uint64    `json:"reconnects"`
	Inflight       int       `json:"inflight"`
	OutBytes       uint64    `json:"out_bytes"`
	OutMessages    uint64    `json:"out_messages"`
	OutFrames      uint64    `json:"out_frames"`
	Resent         uint64    `json:"resent"`
	Refused        uint64    `json:"refused"`
	BatchFramesP50 float64   `json:"batch_frames_p50"`
	BatchFramesP95 float64   `json:"batch_frames_p95"`
	RTTAvgMs       float64   `json:"rtt_avg_ms"`
	RTTP95Ms       float64   `json:"rtt_p95_ms"`
	AckSeq         uint64    `json:"ack_seq"`
	Lag            uint64    `json:"lag"`
}

// TestStep is one step of a connector's test.
type TestStep struct {
	Name string  `json:"name"`
	OK   bool    `json:"ok"`
	Text string  `json:"text,omitempty"`
	Ms   float64 `json:"ms"`
}

// ConfigStatus is the configuration that a gateway runs.
type ConfigStatus struct {
	Source    string    `json:"source"`
	Rev       uint64    `json:"rev"`
	SHA256    string    `json:"sha256"`
	State     string    `json:"state"`
	Error     string    `json:"error,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Endpoints int       `json:"endpoints"`
	Drivers   int       `json:"drivers"`
	Variables int       `json:"variables"`
}

// ConfigApply is one attempt to apply a configuration.
type ConfigApply struct {
	Rev        uint64    `json:"rev"`
	SHA256     string    `json:"sha256"`
	State      string    `json:"state"` // its outcome
	Error      string    `json:"error,omitempty"`
	FailedIn   string    `json:"failed_in,omitempty"`
	Impact     string    `json:"impact,omitempty"`
	Began      time.Time `json:"began,omitzero"`
	DurationMs float64   `json:"duration_ms"`
}

// ConfigEvent is a phase or an outcome of an apply.
type ConfigEvent struct {
	Time    time.Time `json:"time"`
	Rev     uint64    `json:"rev"`
	SHA256  string    `json:"sha256,omitempty"`
	State   string    `json:"state"` // a phase ("DrainEP") or an outcome ("applied"); "dropped": nothing but that count is new
	Text    string    `json:"text,omitempty"`
	Dropped uint64    `json:"dropped,omitempty"` // events that this client was too slow for, in all; set by the server
}

// TraceEvent is something that happened on a connection of an endpoint.
type TraceEvent struct {
	Time       time.Time
	Connection uint64 // counts the connections of the endpoint
	Event      string // "dial", "open", "send", "receive", "close", "error"; "dropped": nothing but that count is new
	Data       []byte // not changed after it was emitted
	Text       string
	Dropped    uint64 // events that this client was too slow for, in all; set by the server
}

// MarshalJSON writes the data in hex.
func (e TraceEvent) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Time       time.Time `json:"time"`
		Connection uint64    `json:"connection"`
		Event      string    `json:"event"`
		Data       string    `json:"data,omitempty"`
		Text       string    `json:"text,omitempty"`
		Dropped    uint64    `json:"dropped,omitempty"`
	}{e.Time, e.Connection, e.Event, hexText(e.Data), e.Text, e.Dropped})
}
