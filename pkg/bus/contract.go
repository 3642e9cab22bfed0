package bus

// Range is a run of sequence numbers, both ends included.
type Range struct{ First, Last uint64 }

// Record is something that a consumer keeps in the log's state beside its
// position, such as a message in flight. The log never deletes the frames of Pin
// while the record exists.
type Record struct {
	Key   string // unique per consumer, 1–128 bytes
	Value []byte
	Pin   Range // zero: pins nothing
}

// Commit is one atomic change of a consumer's state: all of it or nothing
// survives a crash.
type Commit struct {
	Put    []Record
	Delete []string // keys of records; a missing one is no error
	// Ack marks ranges as delivered for good. The consumer's position moves to
	// the end of the contiguous part; what lies beyond is remembered and skipped
	// when the consumer reads again from its position.
	Ack []Range
	// Sync makes the change durable before Commit returns. Without it, a crash
	// may take back this commit and those after it, never one before a synced
	// one.
	Sync bool
}
