package bus

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// Config is the bus's settings. The zero value of a field means its default,
// except where 0 has a meaning of its own.
type Config struct {
	RingPow     uint8         // the ring holds 2^RingPow frames: 14–22, default 16
	PauseHi     float64       // 0 < ResumeLo < PauseHi ≤ 1, default 0.8
	ResumeLo    float64       // default 0.6
	WALDir      string        // required
	WALFlush    time.Duration // most time until a frame is durable; 0: a sync per group. DefaultConfig has 100 ms
	WALMaxBytes uint64        // default 4 GiB, at least 1 MiB
	MinFree     uint64        // publishing stops when the disk has less; 0: never. DefaultConfig has 256 MiB
	Overflow    Overflow      // default spill
	Retain      time.Duration // how long delivered frames are kept for replay; 0: not at all. DefaultConfig has 1 h
	RetainBytes uint64        // and how many bytes of them at most; 0: no limit of its own. DefaultConfig has 1 GiB
}

// DefaultConfig returns the defaults for a log in dir.
func DefaultConfig(dir string) Config {
	return Config{
		RingPow: 16, PauseHi: 0.8, ResumeLo: 0.6, WALDir: dir, WALFlush: 100 * time.Millisecond,
		WALMaxBytes: 4 << 30, MinFree: 256 << 20, Overflow: Spill, Retain: time.Hour, RetainBytes: 1 << 30,
	}
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

func (c *Config) setDefaults() {
	d := DefaultConfig(c.WALDir)
	if c.RingPow == 0 {
		c.RingPow = d.RingPow
	}
	if c.PauseHi == 0 {
		c.PauseHi = d.PauseHi
	}
	if c.ResumeLo == 0 {
		c.ResumeLo = d.ResumeLo
	}
	if c.WALMaxBytes == 0 {
		c.WALMaxBytes = d.WALMaxBytes
	}
	if c.Overflow == "" {
		c.Overflow = d.Overflow
	}
}

// Check returns what is wrong with c, naming the key of gateway.yml.
func (c Config) Check() error {
	c.setDefaults()
	switch {
	case c.WALDir == "":
		return fmt.Errorf("wal_dir: missing")
	case c.RingPow < 14 || c.RingPow > 22:
		return fmt.Errorf("ring_pow %d: expected 14 to 22", c.RingPow)
	case !(c.PauseHi > 0 && c.PauseHi <= 1):
		return fmt.Errorf("pause_hi %v: expected more than 0 and at most 1", c.PauseHi)
	case !(c.ResumeLo > 0 && c.ResumeLo < c.PauseHi):
		return fmt.Errorf("resume_lo %v: expected more than 0 and less than pause_hi (%v)", c.ResumeLo, c.PauseHi)
	case c.WALFlush < 0 || c.WALFlush > time.Minute:
		return fmt.Errorf("wal_flush_ms %v: expected 0 to 60000", c.WALFlush)
	case c.WALMaxBytes < 1<<20:
		return fmt.Errorf("wal_max_bytes %d: expected at least 1M", c.WALMaxBytes)
	case c.Overflow != Spill && c.Overflow != Pause && c.Overflow != DropOldest:
		return fmt.Errorf("overflow %q: expected spill, pause or drop_oldest", c.Overflow)
	case c.Retain < 0:
		return fmt.Errorf("retain %v: expected 0 or more", c.Retain)
	}
	return nil
}
