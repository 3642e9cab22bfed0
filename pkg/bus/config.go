package bus

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Overflow says what happens when consumers don't keep up.
type Overflow string

// The policies.
const (
	// Spill pauses the drivers when the log passes PauseHi of WALMaxBytes.
	Spill Overflow = "spill"
	// Pause pauses the drivers when the ring passes PauseHi of its size: frames
	// that the slowest consumer has not read.
	Pause Overflow = "pause"
	// DropOldest never pauses; when the log passes WALMaxBytes, the oldest frames
	// go, and a sys.gap frame tells which.
	DropOldest Overflow = "drop_oldest"
)

// Config is the bus's settings. Their defaults and bounds stand in
// schemas/bus.schema.json, and nowhere else.
type Config struct {
	RingPow     uint8         `json:"ring_pow"` // the ring holds 2^RingPow frames
	PauseHi     float64       `json:"pause_hi"`
	ResumeLo    float64       `json:"resume_lo"`
	WALDir      string        `json:"wal_dir"`
	WALFlush    time.Duration `json:"wal_flush_ms" unit:"ms"` // most time until a frame is durable; 0: a sync per group
	WALSyncRate int           `json:"wal_sync_rate"`          // most syncs a second, as long as WALFlush does not need more; 0: as the disk bears
	WALMaxBytes uint64        `json:"wal_max_bytes"`
	MinFree     uint64        `json:"min_free"` // publishing stops when the disk has less; 0: never
	Overflow    Overflow      `json:"overflow"`
	Retain      time.Duration `json:"retain"`       // how long delivered frames are kept for replay; 0: not at all
	RetainBytes uint64        `json:"retain_bytes"` // and how many bytes of them at most; 0: no limit of its own
}

// ParseConfig makes a Config of the section bus of gateway.yml. A missing key has its
// default, but for wal_dir. Its errors name the key.
func ParseConfig(section map[string]any) (Config, error) {
	c, err := config.Decode[Config](schema, section)
	if err == nil && c.WALDir == "" {
		err = config.FieldErrorf("wal_dir", "missing")
	}
	return *c, err
}

const schema = "bus"

// DefaultConfig returns the defaults for a log in dir.
func DefaultConfig(dir string) Config {
	c, err := ParseConfig(map[string]any{"wal_dir": dir})
	if err != nil {
		panic(err) // of the schema's own defaults
	}
	return c
}

// check returns what is wrong with a Config that was not made by ParseConfig.
func (c *Config) check() error {
	_, err := ParseConfig(config.Encode(c))
	return err
}

// Deps are what a bus works with.
type Deps struct {
	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: no metrics
	// OnPressure is told, in order and from one goroutine, when drivers should
	// pause (true) and when they may go on (false). nil: nobody.
	OnPressure func(paused bool)
	// OnFailure is told once when the log fails. The process must then end: what
	// is durable survives, and only a new start can go on. nil: see Bus.Failed.
	OnFailure func(error)
	// OnBehind is told once when the log turns out to be behind what was seen of it.
	// See Bus.Witness. nil: nobody.
	OnBehind func(*Behind)
	Earliest time.Time        // a clock that shows less isn't set; no epoch is of an earlier time
	FS       wal.FS           // nil: the operating system's; for tests
	Now      func() time.Time // nil: time.Now; for tests

	patience time.Duration // with a log whose directory is gone; 0: movedPatience
}

// Most syncs a second where wal_sync_rate doesn't say: on flash that wears out by them,
// or a disk that nothing is known of, and on other disks (docs/performance.md).
const (
	flashRate = 10
	quickRate = 100
)

// syncRest is how many times as long as a sync took the next one waits at least: a slow
// disk is left to others, and to Pebble's own writes, for most of the time.
const syncRest = 4

// pause returns how long after a sync that took so long the next one may begin. rate is
// what the disk bears.
func (c *Config) pause(took time.Duration, rate int) time.Duration {
	if c.WALSyncRate > 0 {
		rate = c.WALSyncRate
	}
	return min(c.WALFlush, max(time.Second/time.Duration(rate)-took, syncRest*took))
}
