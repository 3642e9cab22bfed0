package receiver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Ledger knows what has arrived. It may be used from any goroutine.
type Ledger struct {
	path string // "": in memory only

	mu     sync.Mutex
	logs   map[logName]*logState
	chains map[chainName]*chainState
	names  int // of logs, chains and replays
	runs   int // runs of seqs in them
	bad    uint64
	badMsg string
	dirty  bool
}

// logName names a gateway's log.
type logName struct {
	Gateway string `json:"gateway"`
	Epoch   string `json:"epoch"`
}

// chainName names a chain of messages.
type chainName struct {
	Gateway string `json:"gateway"`
	Epoch   string `json:"epoch"`
	Topic   string `json:"topic"`
	Stream  string `json:"stream,omitempty"`
}

// logState is what is known of one log.
type logState struct {
	Seen     runs              `json:"seen"`
	Messages uint64            `json:"messages"`
	Frames   uint64            `json:"frames"` // without repeats
	Repeats  uint64            `json:"repeats"`
	Replays  map[string]uint64 `json:"replays,omitempty"` // frames by id
	Delay    delays            `json:"delay"`
}

// chainState is what is known of one chain.
type chainState struct {
	Vouched runs   `json:"vouched"`
	Highest uint64 `json:"highest"`           // last seq of any message
	Late    uint64 `json:"late,omitempty"`    // messages that came after a later one
	Repeats uint64 `json:"repeats,omitempty"` // messages that brought nothing new
}

// file is the ledger as it is on disk.
type file struct {
	Version int         `json:"version"`
	Logs    []fileLog   `json:"logs"`
	Chains  []fileChain `json:"chains"`
	Bad     uint64      `json:"bad,omitempty"`
}

type fileLog struct {
	Name  logName   `json:"name"`
	State *logState `json:"state"`
}

type fileChain struct {
	Name  chainName   `json:"name"`
	State *chainState `json:"state"`
}

const fileVersion = 1

// OpenLedger reads the ledger at path, or begins one there; with path "" it is
// kept in memory only.
func OpenLedger(path string) (*Ledger, error) {
	l := &Ledger{path: path, logs: map[logName]*logState{}, chains: map[chainName]*chainState{}}
	if path == "" {
		return l, nil
	}
	data, err := regular.ReadFile(path, 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("ledger %s: version %d, this program reads %d", path, f.Version, fileVersion)
	}
	for _, x := range f.Logs {
		if x.State == nil {
			return nil, fmt.Errorf("ledger %s: log of %s: state is missing", path, x.Name.Gateway)
		}
		l.logs[x.Name] = x.State
		l.names, l.runs = l.names+1+len(x.State.Replays), l.runs+len(x.State.Seen)
	}
	for _, x := range f.Chains {
		if x.State == nil {
			return nil, fmt.Errorf("ledger %s: chain of %s: state is missing", path, x.Name.Topic)
		}
		l.chains[x.Name] = x.State
		l.names, l.runs = l.names+1, l.runs+len(x.State.Vouched)
	}
	l.bad = f.Bad
	return l, nil
}

// Save makes the ledger durable, if it has a file and has changed.
func (l *Ledger) Save() error {
	l.mu.Lock()
	if l.path == "" || !l.dirty {
		l.mu.Unlock()
		return nil
	}
	f := file{Version: fileVersion, Bad: l.bad}
	for name, s := range l.logs {
		f.Logs = append(f.Logs, fileLog{name, s})
	}
	for name, s := range l.chains {
		f.Chains = append(f.Chains, fileChain{name, s})
	}
	data, err := json.Marshal(f)
	l.dirty = false
	l.mu.Unlock()
	if err == nil {
		err = durable.WriteFile(l.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// What others publish can't make a ledger grow without end: so many gateways, epochs,
// topics and replays, so many bytes of a name, so many runs of seqs in all.
const (
	maxNames   = 100_000
	maxName    = 1 << 10
	maxAllRuns = 4 << 20
)

// Take enters a message and returns its frames without those that were known.
// The frames of a replay are never new. A message beyond the ledger's bounds is counted
// as bad.
func (l *Ledger) Take(b *Batch) []frame.Sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = true
	if err := l.admit(b); err != nil {
		l.bad++
		l.badMsg = err.Error()
		return nil
	}
	s := l.log(b)
	if b.Replay != "" {
		if s.Replays == nil {
			s.Replays = map[string]uint64{}
		}
		if _, known := s.Replays[b.Replay]; !known {
			l.names++
		}
		s.Replays[b.Replay] += uint64(len(b.Samples))
		return nil
	}
	s.Messages++
	c := l.chain(b)
	l.runs -= len(s.Seen) + len(c.Vouched)
	fresh := s.take(b)
	c.take(b, len(fresh))
	l.runs += len(s.Seen) + len(c.Vouched)
	return fresh
}

// admit returns why a message is not entered.
func (l *Ledger) admit(b *Batch) error {
	for _, name := range []string{b.Gateway, b.Epoch, b.Stream, b.Replay} {
		if len(name) > maxName {
			return fmt.Errorf("message on %s: a name of %d bytes", b.Topic, len(name))
		}
	}
	if l.names >= maxNames || l.runs >= maxAllRuns {
		return fmt.Errorf("message on %s: %d gateways, epochs, topics and replays with %d holes are known, and no more are entered: begin a new ledger, or give a narrower topic",
			b.Topic, l.names, l.runs)
	}
	return nil
}

// Bad counts a message that could not be decoded.
func (l *Ledger) Bad(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad++
	l.badMsg, l.dirty = err.Error(), true
}

func (l *Ledger) log(b *Batch) *logState {
	name := logName{b.Gateway, b.Epoch}
	s, ok := l.logs[name]
	if !ok {
		s = new(logState)
		l.logs[name] = s
		l.names++
	}
	return s
}

func (l *Ledger) chain(b *Batch) *chainState {
	name := chainName{b.Gateway, b.Epoch, b.Topic, b.Stream}
	c, ok := l.chains[name]
	if !ok {
		c = new(chainState)
		l.chains[name] = c
		l.names++
	}
	return c
}

// take enters the frames of a message.
func (s *logState) take(b *Batch) []frame.Sample {
	fresh := b.Samples
	known := uint64(0)
	for i := 0; i < len(b.Samples); {
		j := i + 1
		for j < len(b.Samples) && b.Samples[j].Seq == b.Samples[j-1].Seq+1 {
			j++
		}
		r := Range{First: b.Samples[i].Seq, Last: b.Samples[j-1].Seq}
		before := slices.Clone(s.Seen.overlapping(r))
		if n := s.Seen.add(r); n > 0 {
			if known == 0 {
				fresh = slices.Clone(b.Samples[:i])
			}
			known += n
			for _, x := range b.Samples[i:j] {
				if !before.contains(x.Seq) {
					fresh = append(fresh, x)
				}
			}
		} else if known > 0 {
			fresh = append(fresh, b.Samples[i:j]...)
		}
		i = j
	}
	s.Repeats += known
	s.Frames += uint64(len(fresh))
	for i := range fresh {
		s.Delay.add(b.Received.Sub(time.Unix(0, fresh[i].TS)))
	}
	return fresh
}

// overlapping returns the runs of s that r overlaps.
func (s runs) overlapping(r Range) runs {
	lo, _ := slices.BinarySearchFunc(s, r, func(x, r Range) int {
		if x.Last < r.First {
			return -1
		}
		return 1
	})
	hi := lo
	for hi < len(s) && s[hi].First <= r.Last {
		hi++
	}
	return s[lo:hi]
}

// take enters what a message vouches for.
func (c *chainState) take(b *Batch, fresh int) {
	if fresh == 0 {
		c.Repeats++
	} else if b.LastSeq < c.Highest {
		c.Late++
	}
	c.Vouched.add(Range{First: b.PrevSeq + 1, Last: b.LastSeq})
	c.Highest = max(c.Highest, b.LastSeq)
}

// Report is what a ledger has found.
type Report struct {
	Gateways []GatewayReport `json:"gateways"`
	Bad      uint64          `json:"bad"` // messages that could not be decoded
	BadError string          `json:"bad_error,omitempty"`
}

// GatewayReport is about one log of one gateway.
type GatewayReport struct {
	Gateway  string            `json:"gateway"`
	Epoch    string            `json:"epoch"`
	FirstSeq uint64            `json:"first_seq"`
	LastSeq  uint64            `json:"last_seq"`
	Messages uint64            `json:"messages"`
	Frames   uint64            `json:"frames"`  // without repeats
	Repeats  uint64            `json:"repeats"` // frames that came again
	Late     uint64            `json:"late"`    // messages that came after a later one of their chain
	Gaps     []Gap             `json:"gaps"`    // messages that are missing
	Replays  map[string]uint64 `json:"replays,omitempty"`
	Delay    DelayReport       `json:"delay"`
}

// Gap is a hole in a chain: frames of this topic with these numbers are missing,
// one at least.
type Gap struct {
	Topic  string `json:"topic"`
	Stream string `json:"stream,omitempty"`
	Range
}

// OK reports whether nothing is missing and nothing was unreadable.
func (r *Report) OK() bool {
	return r.Bad == 0 && !slices.ContainsFunc(r.Gateways, func(g GatewayReport) bool { return len(g.Gaps) > 0 })
}

// Report returns what has been found so far, sorted by gateway and epoch.
func (l *Ledger) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Report{Bad: l.bad, BadError: l.badMsg, Gateways: []GatewayReport{}}
	byLog := map[logName]*GatewayReport{}
	for name, s := range l.logs {
		g := &GatewayReport{Gateway: name.Gateway, Epoch: name.Epoch, Messages: s.Messages, Frames: s.Frames, Repeats: s.Repeats,
			Gaps: []Gap{}, Replays: s.Replays, Delay: s.Delay.report()}
		if n := len(s.Seen); n > 0 {
			g.FirstSeq, g.LastSeq = s.Seen[0].First, s.Seen[n-1].Last
		}
		byLog[name] = g
	}
	for name, c := range l.chains {
		g, ok := byLog[logName{name.Gateway, name.Epoch}]
		if !ok {
			continue // a file that somebody has edited
		}
		g.Late += c.Late
		for _, hole := range c.Vouched.holes() {
			g.Gaps = append(g.Gaps, Gap{Topic: name.Topic, Stream: name.Stream, Range: hole})
		}
	}
	for _, g := range byLog {
		slices.SortFunc(g.Gaps, func(a, b Gap) int {
			return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.Stream, b.Stream), cmp.Compare(a.First, b.First))
		})
		r.Gateways = append(r.Gateways, *g)
	}
	slices.SortFunc(r.Gateways, func(a, b GatewayReport) int {
		return cmp.Or(strings.Compare(a.Gateway, b.Gateway), strings.Compare(a.Epoch, b.Epoch))
	})
	return r
}
