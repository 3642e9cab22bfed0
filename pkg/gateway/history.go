package gateway

import (
	"slices"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// historySize bounds what is remembered of applies.
const historySize = 100

// history remembers the last applies, and tells those who watch of new ones.
type history struct {
	mu       sync.Mutex
	results  []apply.Result // oldest first
	watchers map[chan<- any]struct{}
}

func newHistory() *history { return &history{watchers: map[chan<- any]struct{}{}} }

func (h *history) add(r apply.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.results = append(h.results, r)
	if len(h.results) > historySize {
		h.results = slices.Delete(h.results, 0, len(h.results)-historySize)
	}
	h.tell(r)
}

// progress tells the watchers that a phase began.
func (h *history) progress(p apply.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell(p)
}

// tell passes event to whoever has room for it. h.mu is held.
func (h *history) tell(event any) {
	for ch := range h.watchers {
		select {
		case ch <- event:
		default: // a watcher that is slow sees the next one
		}
	}
}

// list returns the results, newest first; limit 0 is all.
func (h *history) list(limit int) []apply.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.results)
	slices.Reverse(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// ranBefore returns the revision that ran before current and differed from it; 0 if
// this process ran nothing else. The release before may be one that failed.
func (h *history) ranBefore(current *config.Snapshot) uint64 {
	for _, r := range h.list(0) {
		if r.Outcome == apply.Applied && r.Rev < current.Rev && r.SHA256 != current.SHA256 {
			return r.Rev
		}
	}
	return 0
}

// watch returns a channel of apply.Progress and apply.Result values, until the
// returned function is called.
func (h *history) watch() (<-chan any, func()) {
	ch := make(chan any, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, ch)
	}
}
