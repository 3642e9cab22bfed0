package mqtt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// The records that the connector keeps beside its position in the log. A record
// is JSON, so that a later release can add fields.
const (
	keySession = "session" // sessionRecord
	keyMessage = "m/"      // + packet identifier: messageRecord
	keyWindow  = "w/"      // + first seq: windowRecord
	keyChain   = "p/"      // + stream and topic: chainRecord
	keyCommand = "c/"      // + hash of the id: commandRecord

	keyRetained = "r/" // + hash of server and topic: retainedAt, of data
)

// messageRecord is a message in flight: not its bytes, but all that is needed to
// make them again from the log.
type messageRecord struct {
	ID       uint16 `json:"id"`                 // packet identifier
	Order    uint64 `json:"order"`              // place in the order of sending
	Released bool   `json:"released,omitempty"` // as Again, Asked and Doubt: of the phase (phase.go)
	QoS      byte   `json:"qos"`
	Topic    string `json:"topic"`
	Stream   string `json:"stream,omitempty"`
	Prev     uint64 `json:"prev"`
	First    uint64 `json:"first"` // of the window
	Last     uint64 `json:"last"`
	Template string `json:"template"` // what the topic was made from
	encoding

	// Of a message that was remade (remake.go):
	From  uint64 `json:"from,omitempty"`  // the frames of the window that are meant; 0: all
	To    uint64 `json:"to,omitempty"`    // of the topic
	Again bool   `json:"again,omitempty"` // released only to end the exchange: it is sent anew then

	// Of a message that the broker does not take (refused.go, doubt.go):
	Refused byte       `json:"refused,omitempty"` // the reason code: the broker has turned it down
	Waited  bool       `json:"waited,omitempty"`  // it was turned down, and is tried again: what is new still waits
	Doubt   bool       `json:"doubt,omitempty"`   // but may hold it from an attempt before
	Asked   bool       `json:"asked,omitempty"`   // released to find that out
	Of      []selector `json:"of,omitempty"`      // the frames that are meant went to these topics before
}

func (m *messageRecord) key() string { return fmt.Sprintf("%s%05d", keyMessage, m.ID) }

// windowRecord is a window of several messages of which some may not be stored
// yet. A window of one message needs none.
type windowRecord struct {
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Next     int    `json:"next"`  // index of the first message that was never stored
	Total    int    `json:"total"` // messages
	Stream   string `json:"stream,omitempty"`
	Template string `json:"template"`
	encoding
}

func (w *windowRecord) key() string { return fmt.Sprintf("%s%020d", keyWindow, w.First) }

// chainRecord is the last seq that was put into a message of a stream on a topic:
// the prev_seq of the next one.
type chainRecord struct {
	Topic  string `json:"topic"`
	Stream string `json:"stream,omitempty"`
	Last   uint64 `json:"last"`
}

// chain names a topic's chain of messages.
type chain struct{ topic, stream string }

func (c chain) key() string {
	if key := keyChain + c.stream + "/" + c.topic; len(key) <= 128 {
		return key
	}
	sum := sha256.Sum256([]byte(c.stream + "/" + c.topic))
	return keyChain + "sha256:" + hex.EncodeToString(sum[:])
}

// sessionRecord says which sessions at brokers the messages in flight belong to.
type sessionRecord struct {
	Epoch    string `json:"epoch"`
	ClientID string `json:"client_id"`
	// Servers hold the session as we know it; more than one when they are a
	// cluster. Stale ones may hold an older one, whose packet identifiers
	// would be mistaken for ours: there we start clean.
	Servers []string `json:"servers"`
	Stale   []string `json:"stale,omitempty"`

	Subscribed []string     `json:"subscribed,omitempty"` // filters that the session holds, or may hold
	Retained   []retainedAt `json:"retained,omitempty"`
}

// window is a run of the log without gaps that is acknowledged as a whole, when
// the last of its messages is.
type window struct {
	record  windowRecord
	gaps    []bus.Range // seqs before it that are delivered already or gone
	parts   []*message  // those that are not stored yet, in order
	pending int         // messages that are not settled
	lost    int         // of them, those of which the log holds no frames any more
	again   bool        // of a message that was parked: it is acknowledged already, as far as it may be
}

// multiple reports whether the window needs a record of its own.
func (w *window) multiple() bool { return w.record.Total > 1 }

func (w *window) rng() bus.Range { return bus.Range{First: w.record.First, Last: w.record.Last} }

// stored reports whether the window's message of a chain that ends with last was
// stored: such a message is the last of its chain, as no other window is begun
// before all messages of this one are stored.
func (w *window) stored(last uint64) bool { return w.record.First <= last && last <= w.record.Last }

// message is one message from its making until it is settled.
type message struct {
	record messageRecord
	window *window
	made   payload // empty when it was sent and can be made again

	phase    phase
	refused  bool     // the broker has refused it, and has not taken it since: nothing new goes out
	refusals int      // in a row
	aside    *refusal // if the broker does not hold it, it is parked for this
	remade   bool     // what the broker may have under its identifier is the whole that it is a piece of
	after    *message // the first piece of the same whole, until the broker has answered it
	sentAt   time.Time
	waits    time.Time // since when the broker's next answer is awaited
	step     uint64    // place of the packet that it is to answer, in the order of writing
	size     int       // of the payload in bytes, once known
	plain    int       // before compression
	frames   int
}

// payload is the body of a message and what its properties say of it.
type payload struct {
	body        []byte
	first, last uint64
	frames      int
	configRev   uint64
	plain       int // size before compression, without what begins an array
}

// put returns the record of v, pinning rng.
func put(key string, v any, rng bus.Range) (bus.Record, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return bus.Record{}, fmt.Errorf("record %s: %w", key, err)
	}
	return bus.Record{Key: key, Value: value, Pin: rng}, nil
}

// stored is what the records say.
type stored struct {
	session  *sessionRecord
	messages []*message // in the order of sending
	windows  []*window  // with parts that were never stored, by first seq
	chains   map[chain]uint64
	commands []bus.Record
	parked   []bus.Parked
	kept     map[retainedAt]bool
	order    uint64 // the highest order in use
}

// readRecords reads the records of a consumer.
func readRecords(records []bus.Record) (*stored, error) {
	s := &stored{chains: map[chain]uint64{}, kept: map[retainedAt]bool{}}
	byFirst := map[uint64]*window{}
	for _, r := range records {
		if err := s.read(r, byFirst); err != nil {
			return nil, fmt.Errorf("record %s: %w (was it written by a newer release?)", r.Key, err)
		}
	}
	slices.SortFunc(s.messages, func(a, b *message) int {
		return cmp.Or(cmp.Compare(a.record.Order, b.record.Order), cmp.Compare(a.record.From, b.record.From))
	})
	for _, m := range s.messages {
		w, ok := byFirst[m.record.First]
		if !ok {
			w = &window{record: windowRecord{First: m.record.First, Last: m.record.Last, Next: 1, Total: 1}}
			byFirst[m.record.First] = w
		}
		m.window = w
		w.pending++
		s.order = max(s.order, m.record.Order)
	}
	for _, w := range byFirst {
		w.pending += w.record.Total - w.record.Next
		if w.record.Next < w.record.Total {
			s.windows = append(s.windows, w)
		}
	}
	slices.SortFunc(s.windows, func(a, b *window) int { return cmp.Compare(a.record.First, b.record.First) })
	return s, nil
}

func (s *stored) read(r bus.Record, byFirst map[uint64]*window) error {
	switch {
	case r.Key == keySession:
		s.session = new(sessionRecord)
		return json.Unmarshal(r.Value, s.session)
	case strings.HasPrefix(r.Key, keyMessage):
		m := new(message)
		s.messages = append(s.messages, m)
		err := json.Unmarshal(r.Value, &m.record)
		m.phase, m.refused = m.record.phase(), m.record.Refused != 0 || m.record.Waited
		return err
	case strings.HasPrefix(r.Key, keyWindow):
		w := new(window)
		if err := json.Unmarshal(r.Value, &w.record); err != nil {
			return err
		}
		byFirst[w.record.First] = w
	case strings.HasPrefix(r.Key, keyChain):
		var c chainRecord
		if err := json.Unmarshal(r.Value, &c); err != nil {
			return err
		}
		s.chains[chain{c.Topic, c.Stream}] = c.Last
	case strings.HasPrefix(r.Key, keyRetained):
		var at retainedAt
		if err := json.Unmarshal(r.Value, &at); err != nil {
			return err
		}
		s.kept[at] = true
	case strings.HasPrefix(r.Key, keyCommand):
		s.commands = append(s.commands, r)
	case bus.IsParked(r):
		p, err := bus.ParseParked(r)
		s.parked, s.order = append(s.parked, p), max(s.order, p.ID)
		return err
	default:
		return fmt.Errorf("unknown key")
	}
	return nil
}
