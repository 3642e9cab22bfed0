package wal

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The tail file holds what was published and is not synced yet, so that the kernel has
// it when the process is killed. It is mapped into memory: to hold a block is to copy
// it, without a system call.
//
//	header  one page: magic, size of a half, run, epoch, CRC-32C of all that
//	half    blocks from the start up, tag sets from the end down
//	half    the same
//
// One half is filled while the other waits for its sync. A half can be decoded alone.
// Its sets stay when it is filled anew, as long as they leave room.
//
//	block  CRC-32C, length, first seq (8 bytes), count, number of the set, CRC-32C of
//	       the set; the block
//	set    CRC-32C, length, number; the set is below
//
// Numbers are little endian and have four bytes. All checksums begin with the run, a
// random number of each opening: what an earlier run left behind doesn't count. The
// numbers of a run's blocks only grow, so neither does what an earlier filling left.
const (
	tailMagic   = "edgetl1\n"
	tailHeader  = 4096
	tailEntry   = 28
	tailSet     = 12
	tailHalf    = 4 << 20 // of a large log
	tailHalfMin = 128 << 10
	tailHalfMax = 64 << 20
	tailSets    = 1 << 12 // known by their address; more are looked up by what they hold
)

// Held says whether the tail has a block.
type Held int

// The answers of [Log.Hold].
const (
	HoldDone  Held = iota // it survives the end of the process, if the log has a tail
	HoldLater             // there is no room before the next sync
	HoldNever             // it is too large, and survives from the next sync on
)

// tail is the tail file in use. The zero value holds nothing.
type tail struct {
	mu     sync.Mutex
	file   tailFile
	off    error       // why there is none
	lost   func(error) // is told when it is given up; nil: nobody
	seed   uint32
	active int
	halves [2]tailPart
	hole   uint64 // a block up to here is not held; what follows it would be of no use
	buf    []byte // an encoded set
}

// tailFile is memory that outlives the process.
type tailFile struct {
	mem   []byte
	sync  func() error
	close func() error
}

// tailPart is a half.
type tailPart struct {
	mem    []byte
	at     int    // end of the blocks
	top    int    // start of the sets
	last   uint64 // seq of the last block
	number uint32 // of the next set
	ids    map[*frame.TagSet]tailSetRef
	bySum  map[uint32]tailSetRef
}

type tailSetRef struct {
	number, sum uint32
	at, size    int
}

// tailHalfSize is the size of a half: as the log's buffers, a small log has a small one.
func (l *Log) tailHalfSize() int {
	if l.tailHalf != 0 {
		return l.tailHalf
	}
	if l.maxBytes == 0 {
		return tailHalf
	}
	return int(min(tailHalf, max(l.maxBytes/64, tailHalfMin)) &^ 4095)
}

// begin makes file the tail of a new run.
func (t *tail) begin(file tailFile, epoch string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file = file
	half := (len(file.mem) - tailHeader) / 2
	for i := range t.halves {
		start := tailHeader + i*half
		t.halves[i] = tailPart{
			mem: file.mem[start : start+half : start+half], top: half,
			ids: map[*frame.TagSet]tailSetRef{}, bySum: map[uint32]tailSetRef{},
		}
	}
	var run [8]byte
	_, _ = rand.Read(run[:]) // crypto/rand.Read never fails
	t.seed = tailSum(0, run[:])
	return t.guard(func() error {
		putTailHeader(file.mem, uint64(half), run, epoch)
		return file.sync()
	})
}

// rename gives the tail the log's new epoch.
func (t *tail) rename(epoch string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file.mem == nil {
		return nil
	}
	return t.guard(func() error {
		h, err := parseTailHeader(t.file.mem)
		if err != nil {
			return err
		}
		putTailHeader(t.file.mem, h.half, h.run, epoch)
		return t.file.sync()
	})
}

// guard runs what touches the mapped memory. A disk that has no page for it (a full
// one, on a file system that copies on write) is an error then, not a crash.
func (t *tail) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(error)
			if !ok {
				panic(r)
			}
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(r)
			}
			err = fmt.Errorf("the disk has no room for it, or can't be written: %w", fault)
		}
		if err != nil {
			t.drop(err)
		}
	}()
	return f()
}

// drop goes on without a tail. t.mu is held.
func (t *tail) drop(err error) {
	t.off = err
	t.file.mem = nil // it stays mapped until close
	t.halves = [2]tailPart{}
	if t.lost != nil {
		t.lost(err)
	}
}

// problem returns why there is no tail; nil if there is one.
func (t *tail) problem() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.off
}

func (t *tail) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file.mem = nil
	t.off = cmp.Or(t.off, ErrClosed)
	if t.file.close == nil {
		return nil
	}
	closeFile := t.file.close
	t.file.close = nil
	return closeFile()
}

// hold copies a block into the tail. What is durable makes room. With must, a block
// for which there is no room now is not held at all.
func (t *tail) hold(e *Entry, durable uint64, must bool) (held Held, pressed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file.mem == nil {
		return HoldDone, false
	}
	if err := t.guard(func() error { held = t.place(e, durable); return nil }); err != nil {
		return HoldDone, false // publishing goes on without; see Log.Tail
	}
	last := e.First + uint64(e.Count) - 1
	if held == HoldLater && must {
		held = HoldNever
	}
	if held == HoldNever {
		t.hole = last
	}
	h := &t.halves[t.active]
	return held, held != HoldDone || h.at > h.top/2
}

func (t *tail) place(e *Entry, durable uint64) Held {
	if t.hole > durable {
		return HoldLater
	}
	if other := &t.halves[1-t.active]; other.last <= durable {
		t.active = 1 - t.active
		other.at = 0
		if other.top < len(other.mem)/2 {
			other.forgetSets()
		}
	}
	h := &t.halves[t.active]
	if t.put(h, e) {
		return HoldDone
	}
	if h.at > 0 {
		return HoldLater
	}
	h.forgetSets()
	if t.put(h, e) {
		return HoldDone
	}
	return HoldNever
}

func (h *tailPart) forgetSets() {
	h.top, h.number = len(h.mem), 0
	clear(h.ids)
	clear(h.bySum)
}

// put writes the block, behind its set, and reports whether there was room.
func (t *tail) put(h *tailPart, e *Entry) bool {
	need := tailEntry + len(e.Block)
	ref, ok := h.ids[e.Set]
	if !ok {
		if ref, ok = t.putSet(h, e.Set, need); !ok {
			return false
		}
	}
	if need > h.top-h.at {
		return false
	}
	p := h.mem[h.at : h.at+need]
	copy(p[tailEntry:], e.Block)
	binary.LittleEndian.PutUint32(p[4:], uint32(len(e.Block)))
	binary.LittleEndian.PutUint64(p[8:], e.First)
	binary.LittleEndian.PutUint32(p[16:], uint32(e.Count))
	binary.LittleEndian.PutUint32(p[20:], ref.number)
	binary.LittleEndian.PutUint32(p[24:], ref.sum)
	binary.LittleEndian.PutUint32(p, tailSum(t.seed, p[4:]))
	h.at += need
	h.last = e.First + uint64(e.Count) - 1
	return true
}

// putSet finds the set in the half, or writes it if it leaves room for need bytes.
func (t *tail) putSet(h *tailPart, s *frame.TagSet, need int) (tailSetRef, bool) {
	if len(h.ids) >= tailSets { // sets that nobody uses any more are not kept for this
		clear(h.ids)
	}
	t.buf = frame.AppendTagSet(t.buf[:0], s)
	key := tailSum(0, t.buf)
	ref, ok := h.bySum[key]
	if ok && string(h.mem[ref.at:ref.at+ref.size]) == string(t.buf) {
		h.ids[s] = ref
		return ref, true
	}
	size := tailSet + len(t.buf)
	if size+need > h.top-h.at {
		return ref, false
	}
	ref = tailSetRef{number: h.number, at: h.top - size, size: len(t.buf)}
	copy(h.mem[ref.at:], t.buf)
	p := h.mem[h.top-tailSet : h.top]
	binary.LittleEndian.PutUint32(p[4:], uint32(len(t.buf)))
	binary.LittleEndian.PutUint32(p[8:], ref.number)
	ref.sum = tailSum(tailSum(t.seed, p[4:]), t.buf)
	binary.LittleEndian.PutUint32(p, ref.sum)
	h.top -= size
	h.number++
	h.ids[s], h.bySum[key] = ref, ref
	return ref, true
}

func tailSum(seed uint32, p []byte) uint32 {
	return crc32.Update(seed, crc32.MakeTable(crc32.Castagnoli), p)
}

// tailHead is the header of a tail file.
type tailHead struct {
	half  uint64
	run   [8]byte
	epoch string
}

func putTailHeader(mem []byte, half uint64, run [8]byte, epoch string) {
	p := append(make([]byte, 0, 64), tailMagic...)
	p = binary.LittleEndian.AppendUint64(p, half)
	p = append(p, run[:]...)
	p = append(p, epoch...)
	p = binary.LittleEndian.AppendUint32(p, tailSum(0, p))
	copy(mem, p)
}

const epochLen = 16

// parseTailHeader returns the header of the file that holds mem. A file of zeros, as
// a crash may leave it, has none.
func parseTailHeader(mem []byte) (h tailHead, err error) {
	const size = len(tailMagic) + 8 + 8 + epochLen
	if len(mem) < tailHeader || string(mem[:len(tailMagic)]) != tailMagic {
		return h, errors.New("it has no header")
	}
	if binary.LittleEndian.Uint32(mem[size:]) != tailSum(0, mem[:size]) {
		return h, errors.New("its header is damaged")
	}
	h.half = binary.LittleEndian.Uint64(mem[8:])
	copy(h.run[:], mem[16:])
	h.epoch = string(mem[24 : 24+epochLen])
	if h.half > tailHalfMax || uint64(len(mem)) != tailHeader+2*h.half {
		return h, errors.New("its size is not what its header says")
	}
	return h, nil
}

// tailBlock is a block that a tail holds. It refers to the tail's memory.
type tailBlock struct {
	first uint64
	count int
	set   []byte
	block []byte
}

// parseTail returns the blocks that the tail of a log with that epoch holds, by their
// first seq. Their contents are as they were written.
func parseTail(mem []byte, epoch string) (map[uint64]tailBlock, error) {
	h, err := parseTailHeader(mem)
	if err != nil {
		return nil, err
	}
	if h.epoch != epoch {
		return nil, fmt.Errorf("it is of epoch %q", h.epoch)
	}
	blocks := map[uint64]tailBlock{}
	seed, half := tailSum(0, h.run[:]), int(h.half)
	for i := range 2 {
		start := tailHeader + i*half
		parseTailHalf(blocks, mem[start:start+half], seed)
	}
	return blocks, nil
}

// parseTailHalf adds the blocks of a half up to the first that is none, or that can't
// follow the one before: the rest is of an earlier filling.
func parseTailHalf(blocks map[uint64]tailBlock, p []byte, seed uint32) {
	sets := parseTailSets(p, seed)
	for at, next := 0, uint64(0); len(p)-at >= tailEntry; {
		e := p[at:]
		size := binary.LittleEndian.Uint32(e[4:])
		if uint64(size) > uint64(len(e)-tailEntry) {
			return
		}
		e = e[:tailEntry+int(size)]
		if binary.LittleEndian.Uint32(e) != tailSum(seed, e[4:]) {
			return
		}
		b := tailBlock{first: binary.LittleEndian.Uint64(e[8:]), count: int(binary.LittleEndian.Uint32(e[16:])), block: e[tailEntry:]}
		set, ok := sets[[2]uint32{binary.LittleEndian.Uint32(e[20:]), binary.LittleEndian.Uint32(e[24:])}]
		if !ok || b.first < max(next, 1) || b.count < 1 || b.count > frame.MaxBlockFrames {
			return
		}
		b.set = set
		blocks[b.first] = b
		next = b.first + uint64(b.count)
		at += len(e)
	}
}

// parseTailSets returns the sets of a half by number and checksum.
func parseTailSets(p []byte, seed uint32) map[[2]uint32][]byte {
	sets := map[[2]uint32][]byte{}
	for top := len(p); top >= tailSet; {
		head := p[top-tailSet : top]
		sum, size, number := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[8:])
		if uint64(size) > uint64(top-tailSet) || int(number) != len(sets) {
			break
		}
		set := p[top-tailSet-int(size) : top-tailSet]
		if sum != tailSum(tailSum(seed, head[4:]), set) {
			break
		}
		sets[[2]uint32{number, sum}] = set
		top -= tailSet + int(size)
	}
	return sets
}
