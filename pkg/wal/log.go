package wal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// FS is the file system that a log lives on.
type FS = vfs.FS

// formatVersion is the newest format, that of a new log; see "Formats" in doc.go.
const formatVersion = 2

// Options of a log. The zero value is good.
type Options struct {
	FS       FS               // nil: the operating system's
	Log      *slog.Logger     // nil: none
	Now      func() time.Time // nil: time.Now
	Earliest time.Time        // a new epoch is of this time at least, whatever the clock says
	ReadOnly bool             // for looking at a log whose gateway is stopped
	Ballast  int64            // bytes set aside and given up when the disk is full; 0: none
	// Tool is for a person's command on the log of a stopped gateway: it fails with
	// ErrDiskFull instead of waiting for space.
	Tool bool
	// Reserve is how many bytes of the disk Import and Restore leave free.
	Reserve uint64
	// MaxBytes is how large the log is meant to become: a small one gets small
	// buffers in memory and, four to five times their size, on the disk. 0: large.
	MaxBytes uint64
	// Epoch and NextSeq make a new log begin there; for restoring a copy.
	Epoch   string
	NextSeq uint64

	format   int                              // of a new log; 0: the newest
	tailHalf int                              // bytes; 0: as is good
	tail     func(size int) (tailFile, error) // instead of a file
	memTable uint64                           // bytes; 0: as is good. Small ones make tests flush often.
}

// Log is an open log. One goroutine appends and one syncs; everything else may
// be called from any goroutine.
type Log struct {
	dir      string
	fs       FS
	disk     *diskFS
	log      *slog.Logger
	now      func() time.Time
	readOnly bool
	tool     bool
	memTable uint64 // bytes; in tests that flush often
	maxBytes uint64
	tailHalf int    // as Options.tailHalf
	startPos uint64 // endPos at Open
	lock     io.Closer
	origin   *durable.Place // nil: unknown
	frames   *pebble.DB
	state    *pebble.DB
	epoch    atomic.Pointer[string]
	format   atomic.Int32

	failed   atomic.Pointer[error]
	failedCh chan struct{}
	failOnce sync.Once
	damaged  sync.Map // paths of files that are known to be damaged

	appended atomic.Uint64 // last seq given to Pebble
	durable  atomic.Uint64 // last seq that survives a crash
	endPos   atomic.Uint64 // bytes of the log up to appended
	floor    atomic.Uint64 // frames before it are deleted, but for pinned ones
	floorPos atomic.Uint64 // bytes of the log up to floor

	life   sync.Mutex
	closed bool
	users  sync.WaitGroup

	w    writer
	sets setCache
	st   stateStore
	gc   collector
	tail tail
}

// Open opens the log in dir, or makes one there.
func Open(dir string, o Options) (*Log, error) {
	l := &Log{dir: dir, log: o.Log, now: o.Now, readOnly: o.ReadOnly, tool: o.Tool, memTable: o.memTable, maxBytes: o.MaxBytes, tailHalf: o.tailHalf, failedCh: make(chan struct{})}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = time.Now
	}
	base := o.FS
	if base == nil {
		base = vfs.Default
	}
	l.disk = newDiskFS(base, l)
	l.fs = l.disk
	// Pebble may stop for good in the middle of opening, see pebbleLogger.
	opened := make(chan error, 1)
	go func() { opened <- l.open(o) }()
	select {
	case err := <-opened:
		if err != nil {
			return nil, fmt.Errorf("open log %s: %w", dir, errors.Join(err, l.shut()))
		}
	case <-l.failedCh:
		return nil, fmt.Errorf("open: %w", l.Err())
	}
	return l, nil
}

func (l *Log) open(o Options) (err error) {
	defer func() { // Pebble panics where it can't sync a directory
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrFailed, r)
		}
	}()
	if !o.ReadOnly {
		if err := l.fs.MkdirAll(l.dir, 0o750); err != nil {
			return err
		}
	}
	if err := l.lockDir(); err != nil {
		return err
	}
	if !o.ReadOnly {
		l.disk.openBallast(l.path("ballast"), o.Ballast)
		if err := l.finishRebuild(); err != nil {
			return fmt.Errorf("finish repair: %w", err)
		}
	}
	frames := l.framesName()
	for _, name := range []string{"state", frames} {
		if err := l.checkMarker(name); err != nil {
			return err
		}
	}
	l.disk.live.Store(true)
	if l.state, err = pebble.Open(l.path("state"), l.stateOptions()); err != nil {
		return l.openError("state", err)
	}
	if l.frames, err = pebble.Open(l.path(frames), l.framesOptions()); err != nil {
		return l.openError("frames", err)
	}
	if !o.ReadOnly {
		if err := l.syncDirs(); err != nil {
			return err
		}
	}
	if err := l.openEpoch(o); err != nil {
		return l.openError("state", err)
	}
	if err := l.loadState(); err != nil {
		return l.openError("state", err)
	}
	if err := l.recover(o); err != nil {
		return err
	}
	if err := l.openTail(o); err != nil {
		return err
	}
	return l.notePlace(l.disk.FS)
}

// framesName returns the directory of the frames: frames.new where a repair was
// interrupted and the log is only read, so that the repair can't be completed.
func (l *Log) framesName() string {
	if _, err := l.fs.Stat(l.path("frames")); err != nil && l.readOnly {
		if _, err := l.fs.Stat(l.path("frames.new")); err == nil {
			return "frames.new"
		}
	}
	return "frames"
}

// checkMarker keeps Pebble from taking a database for a new one whose marker is
// lost: it would delete the tables that it does not know.
func (l *Log) checkMarker(name string) error {
	names, err := l.fs.List(l.path(name))
	if err != nil {
		return nil // there is none yet, or Open tells
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".sst") }) && !slices.ContainsFunc(names, isMarker) {
		return l.openError(name, fmt.Errorf("%w: it has tables, but not the file marker.manifest that says which count", ErrDamaged))
	}
	return nil
}

// syncDirs makes the log's directory itself durable, with those above it that may
// be new too; the ones that may not be opened are older than the log.
func (l *Log) syncDirs() error {
	for path := filepath.Clean(l.dir); ; path = filepath.Dir(path) {
		dir, err := l.fs.OpenDir(path)
		if errors.Is(err, os.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return fmt.Errorf("sync %s: %w", path, err)
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

func isMarker(name string) bool { return strings.HasPrefix(name, "marker.manifest.") }

// openError says what can be done about a database that can't be opened, which is
// not much: what is in it can't be told apart any more. One whose marker is there was
// made, so a file that it lacks was lost. Pebble marks neither that as corruption, nor a
// table that is shorter than it was, nor writes without the manifest that they belong to.
func (l *Log) openError(name string, err error) error {
	lost := strings.Contains(err.Error(), "object size mismatch") || errors.Is(err, pebble.ErrDBNotPristine)
	if errors.Is(err, os.ErrNotExist) {
		names, listErr := l.fs.List(l.path(name))
		lost = listErr == nil && slices.ContainsFunc(names, isMarker)
	}
	if lost || pebble.IsCorruptionError(err) || errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%s: %w beyond repair: keep a copy of %s for whoever may read it, and move it away; the next start begins a new log: %w",
			name, ErrDamaged, l.dir, brief{err})
	}
	return fmt.Errorf("%s: %w", name, err)
}

// brief shows the first line of an error: Pebble's have more.
type brief struct{ error }

// Error returns the first line.
func (b brief) Error() string {
	line, _, _ := strings.Cut(b.error.Error(), "\n")
	return line
}

// Unwrap returns the whole error.
func (b brief) Unwrap() error { return b.error }

func (l *Log) path(name string) string { return l.fs.PathJoin(l.dir, name) }

func (l *Log) lockDir() error {
	lock, err := l.fs.Lock(l.path("LOCK"))
	if err == nil {
		l.lock = lock
		return nil
	}
	// For a lock of this very process Pebble has no error value.
	if isHeld(err) || strings.Contains(err.Error(), "held by current process") {
		return fmt.Errorf("%w (%w)", ErrLocked, err)
	}
	return fmt.Errorf("lock: %w", err)
}

// openEpoch checks that the databases belong together, or makes them so. The
// epoch goes into state first; "ready" comes last, so that a crash in between is
// told from a frames database that was taken away.
func (l *Log) openEpoch(o Options) error {
	_, format, err := readEpoch(l.state, stateEpochKey())
	if err != nil {
		return err
	}
	l.format.Store(int32(format))
	if err := l.finishTurn(); err != nil {
		return err
	}
	inState, _, err := readEpoch(l.state, stateEpochKey())
	if err != nil {
		return err
	}
	inFrames, _, err := readEpoch(l.frames, epochKey())
	if pebble.IsCorruptionError(err) { // Repair writes it anew
		inFrames, err = inState, nil
	}
	if err != nil {
		return err
	}
	_, ready, err := get(l.state, stateReadyKey())
	if err != nil {
		return err
	}
	turning, err := l.turning()
	if err != nil {
		return err
	}
	if ready || l.readOnly || inFrames != "" {
		if inState != inFrames && !turning {
			return fmt.Errorf("%w: state has epoch %q, frames has %q: put back the directory that is missing, or move both away to begin a new log", ErrEpochMismatch, inState, inFrames)
		}
	}
	l.setEpoch(inState)
	if ready || l.readOnly {
		return nil
	}
	if inState == "" {
		if o.format == 0 {
			o.format = formatVersion
		}
		l.format.Store(int32(o.format))
		epoch := o.Epoch
		if epoch == "" {
			at := l.now()
			if at.Before(o.Earliest) {
				at = o.Earliest
			}
			epoch = newEpoch(at)
		}
		l.setEpoch(epoch)
		b := l.state.NewBatch()
		if err := errors.Join(b.Set(stateEpochKey(), l.epochValue(l.Epoch()), nil), b.Set(stateNextKey(), nextValue(max(o.NextSeq, 1), max(o.NextSeq, 1), 0), nil), b.Commit(pebble.Sync)); err != nil {
			return err
		}
	}
	if err := l.frames.Set(epochKey(), l.epochValue(l.Epoch()), pebble.Sync); err != nil {
		return err
	}
	return l.state.Set(stateReadyKey(), []byte{1}, pebble.Sync)
}

func (l *Log) epochValue(epoch string) []byte { return append([]byte{byte(l.format.Load())}, epoch...) }

// readEpoch returns the epoch and the version of the format.
func readEpoch(db *pebble.DB, key []byte) (string, int, error) {
	v, ok, err := get(db, key)
	if err != nil || !ok {
		return "", 0, err
	}
	if len(v) == 0 {
		return "", 0, fmt.Errorf("%w: empty epoch record", ErrDamaged)
	}
	if v[0] > formatVersion {
		return "", 0, fmt.Errorf("%w: format %d, this release knows %d", ErrNewerFormat, v[0], formatVersion)
	}
	return string(v[1:]), int(v[0]), nil
}

// newEpoch returns 16 hex digits: 12 of Unix milliseconds and 4 random.
func newEpoch(now time.Time) string {
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(p[6:]) // crypto/rand.Read never fails
	return hex.EncodeToString(p[:])
}

// get returns a copy of the value at key.
func get(db *pebble.DB, key []byte) ([]byte, bool, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	v = append([]byte{}, v...)
	return v, true, closer.Close()
}

// recover finds where the log ends. The next seq is the largest that anything
// speaks of: the last block, the state's own note (synced before each delete),
// and what consumers have acknowledged, finished or pinned.
func (l *Log) recover(o Options) error {
	next := l.st.next
	end, err := l.lastBlock()
	if err != nil {
		return err
	}
	next = max(next, end.next)
	pos := max(l.st.floorPos, end.pos)
	l.w.logged = end.logged
	next = max(next, l.st.largest()+1, o.NextSeq, 1)
	l.appended.Store(next - 1)
	l.durable.Store(next - 1)
	l.endPos.Store(pos)
	l.startPos = pos
	l.floor.Store(max(l.st.floor, 1))
	l.floorPos.Store(l.st.floorPos)
	l.w.beginSegment(next)
	l.w.current.Store(next)
	l.sets.m = map[setRef]*frame.TagSet{}
	return l.recoverCollector()
}

// logEnd is where the blocks end.
type logEnd struct {
	next   uint64
	pos    uint64
	logged int64
}

// lastBlock finds the end of the blocks. If the last one is damaged, the end is
// assumed as far behind it as a block can reach: a seq must not be used again.
func (l *Log) lastBlock() (end logEnd, err error) {
	it, err := l.frames.NewIter(&pebble.IterOptions{LowerBound: setsKey(1), UpperBound: endKey()})
	if err != nil {
		return logEnd{}, err
	}
	defer func() {
		if closeErr := it.Close(); closeErr != nil && !pebble.IsCorruptionError(closeErr) {
			err = errors.Join(err, closeErr)
		}
	}()
	for valid := it.Last(); valid; valid = it.Prev() {
		first, isBlock := isBlockKey(it.Key())
		if !isBlock {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			break
		}
		env, _, err := parseEnvelope(it.Key(), first, v)
		if err == nil {
			end.next = max(end.next, first+uint64(env.count))
			end.pos = max(end.pos, env.pos) + uint64(len(v))
			end.logged = env.logged
			return end, nil
		}
		l.log.Error("log: the last block is damaged", "first_seq", first, "error", err)
		end.next = max(end.next, first+frame.MaxBlockFrames)
		end.pos += uint64(len(v))
	}
	if err := it.Error(); err == nil || !pebble.IsCorruptionError(err) {
		return end, err
	}
	tables, err := l.frames.SSTables()
	if err != nil {
		return logEnd{}, err
	}
	for _, level := range tables {
		for _, t := range level {
			if last := t.Largest.UserKey; len(last) >= 8 {
				end.next = max(end.next, binary.BigEndian.Uint64(last)+frame.MaxBlockFrames)
			}
		}
	}
	return end, nil
}

// Dir returns the log's directory.
func (l *Log) Dir() string { return l.dir }

// Epoch identifies the log: 16 hex digits that sort by the time of its making.
func (l *Log) Epoch() string {
	if p := l.epoch.Load(); p != nil {
		return *p
	}
	return ""
}

func (l *Log) setEpoch(epoch string) { l.epoch.Store(&epoch) }

// Format returns the version of the format that the log is in, and the newest that
// this release writes.
func (l *Log) Format() (found, newest int) { return int(l.format.Load()), formatVersion }

// Migrate brings the log into the newest format, durably. Blocks stay as they are: each
// tells its own version. The release before this one refuses the log from then on.
func (l *Log) Migrate() error {
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	l.gc.mu.Lock() // NewEpoch writes the same records
	defer l.gc.mu.Unlock()
	before := l.format.Swap(formatVersion)
	// What state says counts. A crash between the two leaves an older number in frames,
	// which the next epoch overwrites.
	if err := l.state.Set(stateEpochKey(), l.epochValue(l.Epoch()), pebble.Sync); err != nil {
		l.format.Store(before)
		return fmt.Errorf("migrate log %s: %w", l.dir, err)
	}
	if err := l.frames.Set(epochKey(), l.epochValue(l.Epoch()), pebble.Sync); err != nil {
		return fmt.Errorf("migrate log %s: %w", l.dir, err)
	}
	return nil
}

// Encode appends the block of b in the log's format to dst. What the format can't hold
// is taken out of b, so that b is what will be read again.
func (l *Log) Encode(dst []byte, b *frame.Batch) ([]byte, error) {
	format := int(l.format.Load())
	if format < 2 {
		b.DropStatuses()
	}
	return frame.AppendBlockOf(dst, b, format)
}

// Next returns the seq that the next appended frame must have.
func (l *Log) Next() uint64 { return l.appended.Load() + 1 }

// Durable returns the last seq that survives a crash.
func (l *Log) Durable() uint64 { return l.durable.Load() }

// Floor returns the first seq that is still held for all.
func (l *Log) Floor() uint64 { return l.floor.Load() }

// Bytes returns the size of the blocks from the floor to the end.
func (l *Log) Bytes() uint64 { return l.endPos.Load() - min(l.floorPos.Load(), l.endPos.Load()) }

// Failed is closed when the log can't go on; see [Log.Err].
func (l *Log) Failed() <-chan struct{} { return l.failedCh }

// Err returns why the log failed, nil while it works. It wraps ErrFailed.
func (l *Log) Err() error {
	if p := l.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func (l *Log) fail(err error) {
	l.failOnce.Do(func() {
		if l.origin != nil { // then that is why, whatever it looks like
			if moved := l.CheckPlace(); moved != nil && !errors.Is(err, ErrMoved) {
				err = fmt.Errorf("%w (%w)", moved, err)
			}
		}
		err = fmt.Errorf("log %s: %w: %w", l.dir, ErrFailed, err)
		l.failed.Store(&err)
		close(l.failedCh)
	})
}

// Close syncs and closes the log. A log that failed is left as it is, since
// Pebble can't be closed then; the process must end. Calls that are under way are
// waited for; later ones fail with ErrClosed.
func (l *Log) Close() error {
	if err := l.Err(); err != nil {
		return err
	}
	if !l.readOnly {
		if _, err := l.Sync(); err != nil {
			return err
		}
	}
	l.life.Lock()
	l.closed = true
	l.life.Unlock()
	if err := l.shut(); err != nil {
		return fmt.Errorf("close log %s: %w", l.dir, err)
	}
	return nil
}

// shut closes everything once nobody uses it; a failure meanwhile ends the wait.
func (l *Log) shut() error {
	done := make(chan error, 1)
	go func() {
		l.users.Wait()
		done <- l.closeAll()
	}()
	select {
	case err := <-done:
		return err
	case <-l.failedCh:
		return l.Err()
	}
}

func (l *Log) closeAll() error {
	errs := []error{l.tail.close()}
	if l.frames != nil {
		errs = append(errs, l.frames.Close())
	}
	if l.state != nil {
		errs = append(errs, l.state.Close())
	}
	l.disk.close()
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

// OpenExisting opens the log in dir; ErrNoLog says that there is none.
func OpenExisting(dir string, o Options) (*Log, error) {
	fs := o.fs()
	for _, name := range []string{"state", "frames"} {
		if _, err := fs.Stat(fs.PathJoin(dir, name)); err != nil {
			if name == "frames" {
				if _, err := fs.Stat(fs.PathJoin(dir, "frames.new")); err == nil {
					continue // an interrupted repair
				}
			}
			return nil, fmt.Errorf("open log %s: %w: %w", dir, ErrNoLog, err)
		}
	}
	return Open(dir, o)
}
