// Package bus gives every frame its sequence number, logs it, and hands it to
// the consumers: in order, without a hole, and only once it is durable.
//
//	Publish ──► queue ──► writer ──► wal.Append ──► syncer ──► ring ──► Reader.Read
//	 encode,      seq      groups     no sync        sync,        │           ▲
//	 any goroutine                                   durable      └─ log ─────┘
//
// # Publishing
//
// Publish encodes the batch in the caller's goroutine, takes the next seqs under
// a short lock, has the log's tail hold a copy under the same lock, and returns: the
// batch has its place, survives the end of the process, and is not durable yet.
// Batches get their seqs in the order of those locks; one publisher's batches
// stay in its order. The writer appends what is queued, as one group. The syncer
// syncs the log as soon as the disk is free, within Config.WALSyncRate, at most
// Config.WALFlush after the first frame that waits, earlier if a quarter of a ring
// waits, and then shows the frames: puts them into the
// ring, wakes consumers, hands them to subscriptions. Sync waits for that.
//
// # Consuming
//
// A consumer is a name with a place in the log: its [wal.Bookmark]. A [Reader] is the hold
// of one consumer on the running bus. Read takes frames from the ring while it holds them,
// and from the log otherwise. A consumer that falls behind costs no memory, and rejoins the
// ring by itself. Commit changes position and records in one atomic step (package wal says
// what survives when). A consumer that nobody holds is parked: its place and its frames are
// kept. A [Subscription] is for watching: it begins now and may lose frames.
//
// # When it gets full
//
// In this order: delivered frames that are only retained go; then frames that only parked
// consumers need; then Config.Overflow decides. Frames that are given up are acknowledged
// for the consumers that miss them, noted, counted, and told by a sys.gap frame, before
// they are deleted. Frames that a record pins stay. Between PauseHi and ResumeLo nothing
// changes (hysteresis); OnPressure tells the drivers. Publishers that don't listen wait
// in Publish when the log or the ring is really full, when as many frames as the ring
// holds wait for the disk, or when the disk has less than MinFree.
//
// # When the disk fails
//
// Publish, Read, Sync and Commit return an error that wraps ErrFailed, OnFailure is
// called once, and the process must end. Durable frames are there at the next start.
//
// # Locks and goroutines
//
// Bus.mu guards the queue, the gauge and the set of consumers; it is held for no input or
// output but the registration of consumers and Update. Five goroutines belong to a bus:
// writer, syncer, pressure, collector, and one that watches for the log's failure. Close
// ends them.
//
// # Testing against it
//
// Open a bus in t.TempDir() with WALFlush of a millisecond, MinFree 0, Retain 0; register
// consumers before the first Publish, or the collector may delete frames that no consumer
// has asked for yet.
package bus
