package bus

import (
	"sort"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// mostTexts bounds what texts take in memory, in bytes: those of the ring, those of the
// frames that wait for the disk, and those that a subscription holds, each. The number of
// frames says little where a device sends long ones.
const mostTexts = 64 << 20

// ring holds the newest durable batches, up to a number of frames and of bytes of texts.
type ring struct {
	mu      sync.RWMutex
	batches []*frame.Batch // oldest first, from head on
	head    int
	frames  int
	texts   int // bytes
	size    int // most frames
	room    int // most bytes of texts
}

// add appends batches and lets the oldest go.
func (r *ring) add(batches []*frame.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, batches...)
	r.frames += frame.CountFrames(batches)
	r.texts += textsOf(batches)
	r.trim()
}

func textsOf(batches []*frame.Batch) (n int) {
	for _, b := range batches {
		n += b.TextBytes()
	}
	return n
}

func (r *ring) resize(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
	r.trim()
}

func (r *ring) trim() {
	for (r.frames > r.size || r.texts > r.room) && len(r.batches)-r.head > 1 {
		r.frames -= len(r.batches[r.head].Frames)
		r.texts -= r.batches[r.head].TextBytes()
		r.batches[r.head] = nil
		r.head++
	}
	if r.head > len(r.batches)/2 && r.head > 256 {
		n := copy(r.batches, r.batches[r.head:])
		clear(r.batches[n:])
		r.batches, r.head = r.batches[:n], 0
	}
}

// read appends to dst the frames of first…last that the ring holds without a
// break from first on: whole batches or parts, at most maxFrames unless the
// first alone is larger. It appends nothing if the ring does not hold first.
func (r *ring) read(dst []*frame.Batch, first, last uint64, maxFrames int) []*frame.Batch {
	r.mu.RLock()
	defer r.mu.RUnlock()
	held := r.batches[r.head:]
	i := sort.Search(len(held), func(i int) bool { return held[i].LastSeq() >= first })
	n := 0
	for ; i < len(held) && held[i].FirstSeq <= first; i++ {
		b := held[i].Slice(first, last)
		if b == nil || n > 0 && n+len(b.Frames) > maxFrames {
			break
		}
		dst = append(dst, b)
		n += len(b.Frames)
		first = b.LastSeq() + 1
	}
	return dst
}
