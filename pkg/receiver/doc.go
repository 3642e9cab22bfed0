// Package receiver is the reference receiver of the gateways' MQTT messages. It does what
// a program must do to get each frame once and to know that none is missing. The tests of
// this project use it, and other programs can.
//
// # What proves what
//
// A frame is named for ever by (gateway, epoch, seq). Frames that are already
// known under that name are repeats and are dropped.
//
// Contiguous seqs alone prove nothing, because filters, topics and commands take numbers
// too. But each message names, as prev_seq, the last seq that its gateway put into a
// message of the same topic and stream before it. So a message vouches for the run from
// prev_seq + 1 to last_seq: a frame that is not in it was never meant for this topic.
// Where the runs of a chain (gateway, epoch, topic, stream) leave a hole, a message is
// missing. The first message that a receiver ever sees of a chain is where its knowledge
// begins.
//
// Messages of a replay carry their id, are counted apart, and change nothing of
// the above.
//
// # The ledger
//
// A [Ledger] holds what has arrived, as runs of numbers, so that its size follows
// the holes and not the frames. [Run] saves it before it acknowledges a message
// at the broker: after a crash the broker delivers again what the ledger may or
// may not hold, and the ledger drops what it does.
package receiver
