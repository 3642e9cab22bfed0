package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Parked is a message that a peer refused and that its connector has put aside, as a
// record of its consumer: it pins its frames in the log, whatever else is deleted, until
// somebody has it sent or drops it.
type Parked struct {
	Consumer string          `json:"-"`
	ID       uint64          `json:"id"` // unique for the consumer
	First    uint64          `json:"first"`
	Last     uint64          `json:"last"`
	Frames   int             `json:"frames"`
	Topic    string          `json:"topic"`
	Reason   string          `json:"reason"` // the peer's, in words
	Time     int64           `json:"time"`   // when it was parked, Unix ms
	Retry    bool            `json:"retry,omitempty"`
	Message  json.RawMessage `json:"message"` // what the connector needs to make it again
}

const keyParked = "parked/"

// ReasonRefused is the reason of gaps that a connector notes.
const ReasonRefused = wal.ReasonRefused

// IsParked reports whether a record is a parked message.
func IsParked(r Record) bool { return strings.HasPrefix(r.Key, keyParked) }

// Key is the key of the message's record.
func (p *Parked) Key() string { return fmt.Sprintf("%s%020d", keyParked, p.ID) }

// Record returns the message's record.
func (p *Parked) Record() (Record, error) {
	v, err := json.Marshal(p)
	return Record{Key: p.Key(), Value: v, Pin: Range{First: p.First, Last: p.Last}}, err
}

// ParseParked reads a record.
func ParseParked(r Record) (Parked, error) {
	var p Parked
	if err := json.Unmarshal(r.Value, &p); err != nil {
		return p, fmt.Errorf("record %s: %w", r.Key, err)
	}
	return p, nil
}

// Parked returns the parked messages of all consumers.
func (a *Archive) Parked() ([]Parked, error) {
	var out []Parked
	for _, c := range a.log.Bookmarks() {
		records, err := c.Records()
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if !IsParked(r) {
				continue
			}
			p, err := ParseParked(r)
			if err != nil {
				return nil, err
			}
			p.Consumer = c.Name()
			out = append(out, p)
		}
	}
	return out, nil
}

// RetryParked has a consumer's connector send a parked message, with its configuration
// of then. A stopped gateway's does when it starts.
func (a *Archive) RetryParked(consumer string, id uint64) error {
	return a.changeParked(consumer, id, func(p Parked) (Commit, error) {
		p.Retry = true
		r, err := p.Record()
		return Commit{Put: []Record{r}}, err
	})
}

// DropParked gives a parked message up. Its frames may then be deleted.
func (a *Archive) DropParked(consumer string, id uint64) error {
	return a.changeParked(consumer, id, func(p Parked) (Commit, error) {
		return Commit{Delete: []string{p.Key()}}, nil
	})
}

func (a *Archive) changeParked(consumer string, id uint64, change func(Parked) (Commit, error)) error {
	all, err := a.Parked()
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Consumer != consumer || p.ID != id {
			continue
		}
		c, err := change(p)
		if err != nil {
			return err
		}
		c.If, c.Sync = []string{p.Key()}, true
		if err := a.consumer(consumer).Commit(c); !errors.Is(err, ErrNoRecord) {
			if err == nil && a.bus != nil {
				a.bus.parkedChanged(consumer)
			}
			return err
		}
		break // it was sent or dropped in this moment
	}
	return fmt.Errorf("parked message %d of consumer %s: %w; 'edge-bus parked list' shows what there is", id, consumer, ErrNoRecord)
}

func (a *Archive) consumer(name string) *wal.Bookmark {
	for _, c := range a.log.Bookmarks() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func (b *Bus) parkedChanged(consumer string) {
	b.mu.Lock()
	c := b.consumers[consumer]
	b.mu.Unlock()
	if c != nil {
		wake(c.parkedChanged)
	}
}
