package s7

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Proto is the protocol's name in the drivers table.
const Proto = "s7"

// DefaultPort is the port of ISO on TCP (RFC 1006), on which S7 PLCs listen.
const DefaultPort = 102

const (
	defaultTimeout = 2 * time.Second // where neither cfg nor the endpoint has one
)

// TSAP names one end of a connection in ISO on TCP (RFC 1006). The TSAP of a CPU has the
// kind of connection in its first byte, and in the second the rack (three bits) and the
// slot (five bits).
type TSAP uint16

// UnmarshalText reads two hexadecimal bytes with a point between them, such as 03.01.
func (t *TSAP) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.Replace(string(text), ".", "", 1))
	if err != nil || len(b) != 2 {
		return fmt.Errorf("%q: expected two hexadecimal bytes with a point between them, such as 03.01", text)
	}
	*t = TSAP(b[0])<<8 | TSAP(b[1])
	return nil
}

// String writes the TSAP as UnmarshalText reads it.
func (t TSAP) String() string { return fmt.Sprintf("%02X.%02X", byte(t>>8), byte(t)) }

// Connection is a kind of connection. A PLC reserves a number of connections for each kind.
type Connection string

// The kinds of connections.
const (
	ConnectionPG    Connection = "pg"    // programming device
	ConnectionOP    Connection = "op"    // operator panel
	ConnectionBasic Connection = "basic" // S7 basic
)

// PLC is a family of PLCs. It decides how a connection finds the CPU.
type PLC string

// The families.
const (
	PLCRack     PLC = "rack"         // S7-300 to S7-1500: by rack and slot
	PLCLogo     PLC = "logo"         // LOGO!: by its TSAPs, as the others below
	PLC200      PLC = "s7-200"       // S7-200 with a CP 243-1
	PLC200Smart PLC = "s7-200-smart" // S7-200 SMART
)

// tsaps are both ends of a connection to a family without rack and slot: the gateway's
// and the PLC's.
func (p PLC) tsaps() (local, remote TSAP) {
	switch p {
	case PLCLogo:
		return 0x0100, 0x0200
	case PLC200:
		return 0x1000, 0x1001
	case PLC200Smart:
		return 0x0100, 0x0301
	}
	return 0, 0
}

// Settings are the cfg of a driver, with the defaults filled in. The schema
// schemas/drivers/s7.schema.json has the types, defaults, bounds and meanings.
type Settings struct {
	Polling      time.Duration `json:"polling"`
	PLC          PLC           `json:"plc"`
	Rack         int           `json:"rack"`
	Slot         int           `json:"slot"`
	Connection   Connection    `json:"connection"`
	LocalTSAP    TSAP          `json:"local_tsap"`
	RemoteTSAP   TSAP          `json:"remote_tsap"`
	PDU          int           `json:"pdu"`
	MaxJobs      int           `json:"max_jobs"`
	MaxItems     int           `json:"max_items"`
	MaxGap       int           `json:"max_gap"`
	Timeout      time.Duration `json:"timeout"`
	Retry        int           `json:"retry"`
	BackoffMax   time.Duration `json:"backoff_max"`
	RetryRefused time.Duration `json:"retry_refused"`
	EnableWrite  bool          `json:"enable_write"`
	VerifyWrite  bool          `json:"verify_write"`
	VerifyDelay  time.Duration `json:"verify_delay"`
	WriteRetry   int           `json:"write_retry"`
}

// ParseSettings reads the cfg of a driver. The default of cfg.timeout is the timeout of
// ep, if it has one, and 2 s otherwise; ep may be the zero value. The errors are
// [config.FieldError]s.
func ParseSettings(cfg map[string]any, ep config.Endpoint) (*Settings, error) {
	s, err := config.Decode[Settings]("drivers/s7", cfg, "cfg")
	if err != nil {
		return s, err
	}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
		if _, given := ep.Opts["timeout"]; given {
			s.Timeout = endpoint.OptionsOf(ep.Scheme, ep.Opts).Timeout
		}
	}
	local, remote := s.PLC.tsaps()
	if given := cfg["local_tsap"] != nil; !given && local != 0 {
		s.LocalTSAP = local
	}
	if s.RemoteTSAP != 0 || remote != 0 {
		says := "plc: " + string(s.PLC)
		if s.RemoteTSAP != 0 {
			says = "remote_tsap"
		} else {
			s.RemoteTSAP = remote
		}
		for _, key := range []string{"rack", "slot", "connection"} {
			if _, given := cfg[key]; given {
				return s, config.FieldErrorf("cfg."+key, "contradicts %s, which says it too; remove one of them", says)
			}
		}
		return s, nil
	}
	kind := map[Connection]TSAP{ConnectionPG: 1, ConnectionOP: 2, ConnectionBasic: 3}[s.Connection]
	s.RemoteTSAP = kind<<8 | TSAP(s.Rack)<<5 | TSAP(s.Slot)
	return s, nil
}
