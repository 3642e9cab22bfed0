package gateway

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// historySize bounds what is remembered of applies.
const historySize = 100

// historyFile is where they are kept in data_dir, as the API lists them.
const historyFile = "config.history.json"

// history remembers the last applies, through restarts, and tells those who watch of
// new ones. It is written behind the applies: after a crash the last one may be missing.
type history struct {
	path    string
	log     *slog.Logger
	unsaved chan struct{} // capacity 1: the file is older than the list

	mu       sync.Mutex
	applies  []*pb.ConfigApply // oldest first
	watchers map[chan<- any]struct{}
}

func newHistory() *history {
	return &history{unsaved: make(chan struct{}, 1), watchers: map[chan<- any]struct{}{}}
}

// open begins with what an earlier process has left in dataDir.
func (h *history) open(dataDir string, log *slog.Logger) {
	h.path, h.log = filepath.Join(dataDir, historyFile), log
	text, err := regular.ReadFile(h.path, maxKept)
	var kept pb.ListConfigHistoryResponse
	if err == nil {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the history of configurations can't be read; it begins anew", "file", h.path, "error", err)
		return
	}
	h.applies = kept.Applies
}

// Run writes the file whenever the list has changed, until ctx ends.
func (h *history) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-h.unsaved:
				h.save()
			default:
			}
			return nil
		case <-h.unsaved:
			h.save()
		}
	}
}

func (h *history) save() {
	h.mu.Lock()
	text, err := protojson.Marshal(&pb.ListConfigHistoryResponse{Applies: h.applies})
	h.mu.Unlock()
	if err == nil {
		err = durable.WriteFile(h.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		h.log.Warn("the history of configurations was not written", "error", err)
	}
}

func (h *history) add(r apply.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.applies = append(h.applies, applyMessage(r))
	if len(h.applies) > historySize {
		h.applies = slices.Delete(h.applies, 0, len(h.applies)-historySize)
	}
	h.tell(r)
	select {
	case h.unsaved <- struct{}{}:
	default: // it will be written anyway
	}
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

// list returns the applies, newest first; limit 0 is all.
func (h *history) list(limit int) []*pb.ConfigApply {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.applies)
	slices.Reverse(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// ranBefore returns the newest configuration that ran and isn't running, whatever this
// or an earlier process tried without success; the zero revision if there is none.
func (h *history) ranBefore(running feed.Revision) feed.Revision {
	for _, r := range h.list(0) {
		if r.State == string(apply.Applied) && r.Rev < running.Rev && r.Sha256 != running.SHA256 {
			return feed.Revision{Rev: r.Rev, SHA256: r.Sha256}
		}
	}
	return feed.Revision{}
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
