package bus

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Stats describes the bus. The JSON names are those of edge-bus stats.
type Stats struct {
	Epoch              string          `json:"epoch"`
	FirstSeq           uint64          `json:"first_seq"`   // first frame held; LastSeq + 1 if none is
	LastSeq            uint64          `json:"last_seq"`    // last frame published
	DurableSeq         uint64          `json:"durable_seq"` // last frame that survives a crash
	RingUsed           uint64          `json:"ring_used"`   // frames of the ring that the slowest consumer has not read
	RingSize           uint64          `json:"ring_size"`
	WALBytes           uint64          `json:"wal_bytes"` // of the frames held
	WALMaxBytes        uint64          `json:"wal_max_bytes"`
	DiskBytes          uint64          `json:"disk_bytes"` // on the disk
	FreeBytes          uint64          `json:"free_bytes"` // left on the disk
	WriteAmplification float64         `json:"write_amplification"`
	Overflow           Overflow        `json:"overflow"`
	Paused             bool            `json:"paused"` // drivers are asked to pause
	DiskFull           bool            `json:"disk_full"`
	NoTail             string          `json:"no_tail,omitempty"` // why kill -9 takes what is not synced yet; empty: it takes nothing
	Consumers          []ConsumerStats `json:"consumers"`

	// When the first and the last frame were logged; zero where that is not known.
	// Only [Archive.Stats] looks them up.
	FirstTime time.Time `json:"first_time,omitzero"`
	LastTime  time.Time `json:"last_time,omitzero"`
}

// ConsumerStats describes a consumer.
type ConsumerStats struct {
	Name        string    `json:"name"`
	AckSeq      uint64    `json:"ack_seq"` // every frame up to it is delivered
	Lag         uint64    `json:"lag"`     // durable frames behind it
	Parked      bool      `json:"parked"`  // no connector holds it
	ParkedSince time.Time `json:"parked_since,omitzero"`
	AckTime     time.Time `json:"ack_time,omitzero"` // when the frame AckSeq was logged, as FirstTime
}

// Stats returns the bus's figures. It may be called every second.
func (b *Bus) Stats() Stats {
	cfg, l := b.cfg.Load(), b.log.Stats()
	s := Stats{
		Epoch: l.Epoch, FirstSeq: l.First, DurableSeq: l.Durable, RingSize: uint64(b.ringSize()),
		WALBytes: l.Bytes, WALMaxBytes: cfg.WALMaxBytes, DiskBytes: l.DiskBytes, FreeBytes: l.Free,
		Overflow: cfg.Overflow, DiskFull: l.WaitingFull, Consumers: b.Consumers(),
	}
	if l.Appended > 0 {
		s.WriteAmplification = float64(l.Written) / float64(l.Appended)
	}
	if err := b.log.Tail(); err != nil {
		s.NoTail = err.Error()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.LastSeq = b.next - 1
	s.RingUsed = min(b.unread(), s.RingSize)
	s.Paused = b.gauge.pressed || b.gauge.closed()
	return s
}

// Consumers returns all consumers, sorted by name.
func (b *Bus) Consumers() []ConsumerStats {
	head := b.log.Durable()
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]ConsumerStats, 0, len(b.consumers))
	for _, c := range b.consumers {
		s := ConsumerStats{Name: c.Name(), AckSeq: c.Acked(), Parked: !c.active.Load()}
		s.Lag = head - min(s.AckSeq, head)
		c.mu.Lock()
		s.ParkedSince = c.parkedSince
		c.mu.Unlock()
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b ConsumerStats) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// RemoveConsumer forgets a parked consumer for good, with its place and records.
func (b *Bus) RemoveConsumer(name string) error {
	b.register.Lock()
	defer b.register.Unlock()
	b.mu.Lock()
	c := b.consumers[name]
	b.mu.Unlock()
	if c == nil {
		return fmt.Errorf("consumer %s: %w", name, ErrNoConsumer)
	}
	if c.active.Load() {
		return fmt.Errorf("consumer %s: %w: take the connector out of the configuration first", name, ErrInUse)
	}
	if err := b.log.RemoveConsumer(name); err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.consumers, name)
	b.mu.Unlock()
	wake(b.wakeCollector)
	return nil
}

// MoveConsumer gives a parked consumer another name, with its place and records.
func (b *Bus) MoveConsumer(from, to string) error {
	b.register.Lock()
	defer b.register.Unlock()
	b.mu.Lock()
	c := b.consumers[from]
	b.mu.Unlock()
	if c != nil && c.active.Load() {
		return fmt.Errorf("consumer %s: %w", from, ErrInUse)
	}
	if err := b.log.MoveConsumer(from, to); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.consumers, from)
	for _, st := range b.log.Bookmarks() {
		if st.Name() == to {
			b.consumers[to] = &Reader{b: b, st: st, parkedSince: b.now()}
		}
	}
	return nil
}

// Rewind sets every consumer that is further back to seq, once: they are delivered
// the frames from there on again. One that has not come so far stays where it is,
// since going forward would skip frames. Consumers must not be reading.
func (b *Bus) Rewind(seq uint64) error {
	b.register.Lock()
	defer b.register.Unlock()
	seq = max(min(seq, b.log.Durable()+1), 1)
	b.mu.Lock()
	consumers := slices.Collect(maps.Values(b.consumers))
	b.mu.Unlock()
	for _, c := range consumers {
		if seq > c.st.Acked() {
			continue
		}
		if err := c.st.SetBack(seq - 1); err != nil {
			return err
		}
		c.Seek(c.st.Acked() + 1)
	}
	return nil
}

// Config returns the settings in use.
func (b *Bus) Config() Config { return *b.cfg.Load() }

// Update replaces all settings but WALDir while the bus runs.
func (b *Bus) Update(cfg Config) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	cfg.WALDir = b.cfg.Load().WALDir
	if err := cfg.check(); err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	b.use(cfg)
	return nil
}

// use puts cfg in force. b.mu is held.
func (b *Bus) use(cfg Config) {
	b.cfg.Store(&cfg)
	b.ring.resize(1 << cfg.RingPow)
	b.measure()
	b.freeSpace()
	wake(b.syncNow)
	wake(b.wakeCollector)
	wake(b.wakePressure)
}
