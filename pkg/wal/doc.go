// Package wal is the log: it keeps batches of frames and what consumers have done
// with them, on Pebble, so that nothing that was promised is lost by a crash and
// no number is used twice.
//
// # Layout
//
// A log is a directory:
//
//	LOCK         held while the log is open; a second opener gets ErrLocked
//	frames/      a Pebble database: blocks of frames, and the tag sets they refer to
//	state/       a Pebble database: positions, records, gaps, the next seq
//	tail         copies of the blocks that are not synced yet, mapped into memory
//	ballast      space that is given up when the disk is full
//	quarantine/  what Repair took out
//
// There are two databases since blocks are a queue (written once, in order,
// deleted in order) and state is a few small keys that are overwritten: in one
// tree, each table would hold some of both and overlap all others, and every
// compaction would rewrite blocks. Both hold the log's epoch; one without the
// other is refused (ErrEpochMismatch).
//
// A block is a batch as package frame encodes it, with an envelope in front that
// says where it stands (keys.go). It refers to its tag set by a number within a
// segment. A segment is a run of about 16 MiB of blocks that has its own tag sets,
// written with the first block that needs them, in the same Pebble batch, under a
// key that sorts before the segment's blocks. So tables still don't overlap, a
// damaged tag set costs one segment at most, and sets go with their segment.
// Every opening begins a segment. A set of one tag stands in the block itself.
//
// # What is durable when
//
// There are two crashes. The end of the process (kill -9) keeps what the kernel has;
// a power cut keeps what was synced.
//
// Append gives blocks to Pebble without a sync: Pebble holds them in the memory
// of the process. Sync appends a record of its own and syncs; because Pebble's log is
// written in order, everything appended before is durable then. The position is read
// before the sync begins. Nobody is shown a frame behind it (package bus sees to
// that). So neither crash takes back what somebody has seen.
//
// Hold comes before Append, in the moment in which a block gets its number, and copies
// the block into the tail, which is mapped from a file: from then on the kernel has it.
// Publish returns after Hold, so the end of the process takes nothing that was
// published. Open appends what the tail holds behind Pebble's last block, under the
// numbers that it had, and syncs it before anybody can read or append. Nobody has seen
// those frames, because they were not synced, and nobody was given their numbers,
// because a number is given with Hold and under one lock. A block that was not held
// completely is one whose Publish has not returned; its number is given to others.
//
// After a power cut the tail is any mix of old and new pages. Each block has a checksum
// that includes a random number of the run and the checksum of its tag set; the file's
// header has the run and the epoch and is synced before the first Hold. Blocks of this
// run alone count, their numbers only grow, and only those that follow the last block
// without a hole are taken. These were published under these numbers in the run that
// the crash ended, so taking them in gives more than was promised, and nothing wrong.
// If the log was used without its tail meanwhile (by an older release, or put back from
// a copy), the numbers don't fit, or the block before differs, and the tail is ignored.
//
// A half of the tail is filled anew when all in it is synced; a log whose disk is
// slower than its publishers has them wait for that. Where a file can't be mapped, or
// the disk has no page for it, the log works without and says so: then both crashes
// take what a power cut takes.
//
// A Commit of a consumer is one Pebble batch in state: all of it or nothing.
// Without Sync it becomes durable with the next synced write to state; never
// before an earlier one.
//
// # The next number
//
// A seq must not be used again once somebody may have seen it, even when the
// log is empty. At open, the next seq is one more than the largest that anything
// speaks of: the last block, acknowledged and finished ranges, pins, gaps, and
// the note m/next, which is synced in state before each deletion in frames. A
// last block that is damaged counts as if it were as long as a block can be.
//
// # Deleting
//
// Collect deletes blocks before a limit. First it writes m/next (next seq, floor)
// to state with a sync, which makes durable the acknowledgements that allow the
// deletion too; then it deletes in frames, without a sync: a crash may bring
// blocks back, and the next Collect deletes them again. Blocks that a record pins
// stay, with their tag sets. Near the end of the log a range tombstone is written,
// which mostly meets its blocks in the memtable, so that they never reach a table;
// far from the end whole tables are cut off (Excise), segment by segment.
//
// # Crash here ⇒ this
//
//	while the log is made                 state has the epoch and no "ready": the next open completes it
//	in Hold                               the block is gone; its Publish has not returned; its seq is given to others
//	after Hold, before Sync               killed: the next open takes the frames in, under their seqs
//	                                      power cut: the frames are gone, or the first of them; nobody saw them; the
//	                                      seqs of those that are gone are given to others
//	while the tail is taken in            it is taken in again; what Pebble has of it by then is skipped
//	after that, before the new header     all in the tail is in Pebble, and is skipped
//	during Sync                           as before or as after; nobody was told
//	after Sync                            the frames are there
//	after Commit without Sync             it may be undone, with all later ones; frames are delivered again, or
//	                                      (with a record that was synced) recognised by the receiver
//	after Commit with Sync                it holds, and all before it
//	Collect, before m/next is synced      nothing was deleted
//	Collect, after it, before the delete  blocks below the floor exist; found at open, deleted by the next Collect
//	Collect, after the delete             the delete may come undone: as above
//	Drop, after the gap is noted          the gap will be told; the frames may still be delivered (told too early)
//	Drop, after the acks                  the frames are given up; the gap will be told
//	the gap's sys.gap frame published     if it was not durable, it is published again; if it was, perhaps twice
//	NewEpoch, before its note is synced   the log goes on under its old epoch
//	NewEpoch, after it                    the next open gives both databases the new epoch
//	Repair, before frames is moved away   frames.new is thrown away by the next Repair
//	Repair, between the two renames       the next open puts frames.new in place
//
// crash_test.go crashes the machine at each write of a long workload, with a
// random part of what was not synced lost, and lets each write fail. tail_test.go does
// both crashes, with sectors of the tail old and new at random. test/crash kills a
// real process.
//
// # The disk
//
// Full: Pebble ends the process when it can't write its log or manifest. So the file
// system (fs.go) makes a full disk a wait: the write gives up the ballast and tries again
// until there is space. Failing: a sync that failed has lost data and can't be repeated;
// the log is failed from then on (Failed, Err), and the process must end. Pebble's
// goroutine that met the error never returns; Close does not wait for it. Lying about
// order: fs.go syncs the directory before Pebble moves its marker files, because some
// file systems don't keep the order of such changes.
//
// Gone: open files outlive their names, so that a process whose directory is deleted,
// moved, replaced by a copy or hidden by a mount goes on writing to what nobody will
// find again. CheckPlace compares the directories' identities with those at open;
// package bus asks it twice a second, stops publishing at once, and fails the log if
// the directory does not come back.
//
// Damaged: each block, envelope and tag set has a checksum, as have Pebble's own
// files. Reading returns a DamageError instead of leaving frames out; a hole in
// the seqs that no Gap tells of is damage too. Check finds all of it, Repair takes
// it out and notes the gaps, of pinned frames before the floor too. A log that Pebble can't open at all (a damaged
// manifest, or a log file damaged in the middle) can't be repaired: move the
// directory away, and a new log with a new epoch begins.
//
// # Formats
//
// The epoch records begin with the format's version; that of state counts. A newer one
// than this release knows is refused with ErrNewerFormat.
//
//	1   blocks of version 1
//	2   blocks of version 1 and 2, which hold statuses, and arrays as such
//
// A new log has the newest. An older one is read, and goes on in its format, so that the
// release before this one can take it back, until Migrate; what that format can't hold is
// left out when a frame is published, not later. An export has the format of its log, and
// the log that is made of it too.
package wal
