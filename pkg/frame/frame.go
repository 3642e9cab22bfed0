// Package frame defines what travels through the gateway: a value read from a
// device with its tag, quality and source time, and the batches that carry such
// values from a driver to the log and on to a connector.
//
// # Batches, not frames
//
// One answer of a device becomes one [Batch]. Publishing, logging, the ring and
// the connectors move batches; a lone frame is a batch of one. A batch names its
// tags by index into a [TagSet], which a driver builds once per poll plan, so
// that the hot path copies no names and allocates per batch, never per frame.
//
// # Ownership
//
// A batch belongs to its maker until it is published. From then on it is
// immutable and may be read by any number of goroutines. A TagSet is immutable
// from the moment it is built.
//
// # Identity
//
// The bus gives every frame a sequence number: a uint64 that starts at 1, has no
// gaps and is never used again within one log. Frame i of a batch has the number
// FirstSeq + i. (gateway, epoch, seq) names a frame for ever; see package wal.
package frame

import (
	"fmt"
	"time"
)

// Quality says how far a value can be trusted.
type Quality uint8

// The qualities, from best to worst.
const (
	Good      Quality = iota // as the device reported it
	Uncertain                // the device or the driver doubts it
	Bad                      // not known: the device could not be read, or answered nonsense
)

// DoubtBefore makes the good frames of b uncertain whose time is before t (Unix ns): a
// clock that wasn't set gave it to them.
func (b *Batch) DoubtBefore(t int64) {
	for i := range b.Frames {
		if f := &b.Frames[i]; f.TS < t && f.Quality == Good {
			f.Quality = Uncertain
		}
	}
}

// String returns the name that payloads and listings use.
func (q Quality) String() string {
	switch q {
	case Good:
		return "good"
	case Uncertain:
		return "uncertain"
	case Bad:
		return "bad"
	}
	return fmt.Sprintf("quality(%d)", uint8(q))
}

// ParseQuality is the inverse of [Quality.String].
func ParseQuality(s string) (Quality, error) {
	for q := Good; q <= Bad; q++ {
		if s == q.String() {
			return q, nil
		}
	}
	return Bad, fmt.Errorf("quality %q: expected good, uncertain or bad", s)
}

// Kind says what a batch carries.
type Kind uint8

// The kinds.
const (
	Data Kind = 0 // values read from a device, and the gateway's own sys.* frames
	Cmd  Kind = 1 // commands on their way to a device
)

// String returns the name that metrics and filters use.
func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Cmd:
		return "cmd"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// SysPrefix begins the tags that the gateway keeps for its own frames
// (sys.start, sys.gap, sys.cfg_rollback, sys.audit). Their value is a JSON
// object ([ObjectValue]).
const SysPrefix = "sys."

// Tag describes one tag of a [TagSet].
type Tag struct {
	Name string // unique in the gateway
	Unit string // engineering unit, "" if none
}

// TagSet is the list of tags that a driver's batches refer to by index. It is
// immutable. Two batches with the same *TagSet have the same tags, so readers may
// keep per-tag work (an encoded name, a topic) by its address.
type TagSet struct {
	Driver string // id of the driver, "" for the gateway's own frames
	Tags   []Tag
}

// Frame is one value of one tag.
type Frame struct {
	Value   Value
	TS      int64   // source time, Unix nanoseconds
	Tag     uint32  // index into the batch's TagSet
	Quality Quality // of Value
	// Status is 1 + an index into the batch's Statuses: the device's own reason for a
	// quality that isn't good. 0: it gave none.
	Status uint16
}

// Time returns the source time.
func (f *Frame) Time() time.Time { return time.Unix(0, f.TS) }

// Batch is a run of frames with consecutive sequence numbers.
type Batch struct {
	FirstSeq  uint64 // given by the bus; 0 before that
	ConfigRev uint64 // revision of the configuration that decoded the values
	Kind      Kind
	Set       *TagSet
	Frames    []Frame
	// Statuses are the codes that frames refer to, as their protocol writes them:
	// "0x80340000 BadNodeIdUnknown".
	Statuses []string
}

// Status returns the device's own reason for the quality of frame i, "" if it gave none.
func (b *Batch) Status(i int) string {
	if n := int(b.Frames[i].Status); n > 0 && n <= len(b.Statuses) {
		return b.Statuses[n-1]
	}
	return ""
}

// TextBytes is how many bytes of texts and arrays the values of b lead to. All else in a
// batch takes the same for each frame.
func (b *Batch) TextBytes() (n int) {
	for i := range b.Frames {
		n += len(b.Frames[i].Value.str)
	}
	return n
}

// AddStatus returns what a frame of b has in Status for the given text. A batch holds few
// texts; one more than fit is left out.
func (b *Batch) AddStatus(text string) uint16 {
	if text == "" {
		return 0
	}
	for i := range b.Statuses {
		if b.Statuses[i] == text {
			return uint16(i + 1)
		}
	}
	if len(b.Statuses) == maxStatuses || len(text) > maxStatus {
		return 0
	}
	b.Statuses = append(b.Statuses, text)
	return uint16(len(b.Statuses))
}

// The bounds of a batch's statuses.
const (
	maxStatuses = 1 << 10
	maxStatus   = 1 << 8 // bytes of one
)

// DropStatuses takes the statuses out of b, for a log that can't hold them.
func (b *Batch) DropStatuses() {
	if b.Statuses == nil {
		return
	}
	b.Statuses = nil
	for i := range b.Frames {
		b.Frames[i].Status = 0
	}
}

// LastSeq returns the number of the last frame. The batch must not be empty.
func (b *Batch) LastSeq() uint64 { return b.FirstSeq + uint64(len(b.Frames)) - 1 }

// Tag returns the tag of frame i.
func (b *Batch) Tag(i int) *Tag { return &b.Set.Tags[b.Frames[i].Tag] }

// Slice returns the part of b with first <= seq <= last, sharing b's memory; nil
// if there is none.
func (b *Batch) Slice(first, last uint64) *Batch {
	if len(b.Frames) == 0 || first > b.LastSeq() || last < b.FirstSeq || first > last {
		return nil
	}
	if first <= b.FirstSeq && last >= b.LastSeq() {
		return b
	}
	lo, hi := uint64(0), uint64(len(b.Frames))
	if first > b.FirstSeq {
		lo = first - b.FirstSeq
	}
	if last < b.LastSeq() {
		hi = last - b.FirstSeq + 1
	}
	part := *b
	part.FirstSeq = b.FirstSeq + lo
	part.Frames = b.Frames[lo:hi:hi]
	return &part
}

// Single returns a batch of one frame with a TagSet of its own, for what is
// published rarely: the gateway's sys.* frames, commands, imports.
func Single(kind Kind, driver string, tag Tag, f Frame) *Batch {
	f.Tag = 0
	return &Batch{Kind: kind, Set: &TagSet{Driver: driver, Tags: []Tag{tag}}, Frames: []Frame{f}}
}

// CountFrames returns the number of frames in batches.
func CountFrames(batches []*Batch) int {
	n := 0
	for _, b := range batches {
		n += len(b.Frames)
	}
	return n
}
