// Package mqtt is the MQTT 5 connector: it delivers the log's frames to a broker,
// each once (QoS 2), and takes commands down to the devices. paho speaks the
// protocol; the session, which decides what is sent, stored and forgotten when, is
// ours ([session], as paho's SessionManager).
//
// # Messages are references
//
// A reader turns the log into windows: runs without gaps, of which each topic's
// frames make one message. A message in flight is not stored as bytes but as a
// record that says how to make it again: packet identifier, state, window, topic,
// previous seq, encoding. The record pins its window in the log. One goroutine,
// the sender, stores and writes. It works in turns: all answers that have come and
// all messages that may go are stored in one commit with one sync, and then
// written. A slow disk makes the turns longer and fuller, not the throughput
// smaller.
//
// # Three parts
//
// The package has three parts, in one package because they share the session, which paho
// calls from one side and the sender from the other: as packages of their own, most of
// what they tell each other would have to be exported.
//
//	the wire      how a broker is reached: conn.go, proxy.go, link.go (visit, attach),
//	              terms.go, limits.go, pinger.go, packet.go, probe.go, offline.go,
//	              takeover.go, reason.go, explain.go
//	the session   what is sent, stored and forgotten when: phase.go is the exchange of one
//	              message, as a table; message.go its records; reader.go, maker.go and
//	              payload.go make it; sender.go sends it; refused.go, doubt.go, remake.go,
//	              parked.go, lowerqos.go and unanswered.go say what happens when it does
//	              not arrive as it is; session.go, leftover.go and seen.go keep what the
//	              broker has; uplink.go runs it on a connection, replay.go beside it
//	commands      command.go, commands.go, commands_answer.go, inbox.go: what comes down
//
// connector.go runs them. state.go, status.go, stats.go and metrics.go tell of them.
//
// # What is durable when
//
//	record m/ID (before PUBLISH)            synced
//	record m/ID released (before PUBREL)    synced
//	m/ID deleted, window acknowledged       one commit, not synced
//	w/FIRST: which messages of a window of several topics were stored
//	                                        with their records
//	p/STREAM/TOPIC: last seq in a message   with the message's record
//	session: epoch, client id, servers      synced, before anything is written
//	                                        on a connection without a session
//	session: subscriptions, retained status synced, before SUBSCRIBE or CONNECT
//
// # Crash here, then this
//
//	before the record is synced          nothing was written: the frames are read
//	                                     again, perhaps cut differently
//	after it, whether written or not     PUBLISH again: same identifier, same
//	                                     bytes, DUP; the broker drops it if it
//	                                     has it, or says 0x91, which means so
//	before the release is synced         PUBLISH with DUP; PUBREC once more
//	after it, whether written or not     PUBREL again
//	after PUBCOMP, before the next sync  PUBREL again; the broker says PUBCOMP or
//	                                     0x92, not found, and the window is
//	                                     acknowledged then
//
// A lost connection is the same without the loss of unsynced commits: every
// connection begins by loading the records, so that there is one way to resume and
// not two. A commit that fails ends the connection, for the same reason.
//
// An answer that does not come has a time too (unanswered.go); then the connection is
// given up and all goes on as after any loss of one.
//
// A publish that was stored is never published under another identifier, unless
// the broker has refused it in so many words, or says that it does not hold it.
//
// # What the broker does not take
//
// A refusal ends the exchange, and is stored with the message (refused.go): the next
// attempt is made with the configuration of then, after a back-off, or at once when the
// configuration changes. That the attempt begins is stored too, synced, before it is
// written. Everything behind a refused message waits: nothing is skipped, unless
// on_refused says so.
//
// A message at which two connections in a row were ended by the broker, after one that
// ended as well, each with that message alone on the wire and no answer, is made anew as well: with the present
// configuration if that differs, else in halves, down to one frame, which then counts as
// refused. Its exchange is open: the broker may hold the message. So is that of a message
// that was refused as a repeat. Before such a message is made anew the broker is asked
// with PUBREL (doubt.go), and where its answer is worth nothing the first part goes out
// under the same identifier, as a repeat:
//
//	crash before the question is synced     nothing was asked; it begins anew
//	after it, before PUBCOMP is handled     PUBREL again; "not found" may now mean that
//	                                        the first one completed the message: it is
//	                                        made anew, and its frames may arrive twice
//	parts stored, in one synced commit      the parts are sent; the whole is no more
//
// Progress goes before "once" there and nowhere else, and only with a broker that answers
// PUBREL alike in all cases and drops a repeat with another content without a word.
//
// # What cannot be sent again as it was
//
// A broker may come back with a smaller Maximum Packet Size or Maximum QoS than
// messages in flight need. Then they are remade (remake.go): cut into pieces, the
// first of which takes the whole's identifier, so that a broker that has the whole
// says so or puts the piece in its place; or sent anew with a lower QoS. The new
// records replace the old one in one synced commit, before anything is written. No
// frame is missing after it; it is counted and told that some may arrive twice
// (mqtt_remade_total).
//
// A repair of a damaged log may take frames out of a message in flight. What is
// left goes out under the same identifier: a broker that has the message drops the
// repeat, whatever it holds. With nothing left, PUBREL goes out: it completes the
// message if the broker has it. The next message's prev_seq shows a consumer that
// frames are missing; the log's sys.gap frame says which.
//
// # What the broker keeps of an earlier configuration
//
// Subscriptions belong to the session, the status message and the will are retained:
// all of them outlive the configuration that asked for them. They are noted before
// they are made, and what the present configuration does not ask for is taken back on
// the next connection (leftover.go). A command is accepted only on a topic that the
// present configuration subscribes to, and executed only if it allows the tag, whatever
// the broker delivers and whenever the command was logged.
//
// # When the promise ends
//
// If the broker has lost the session, whatever was in flight is sent anew, without
// DUP, and may arrive twice: that is counted (mqtt_session_lost_total). The states
// of the handshake are reset, synced, while CONNACK is handled, since a PUBREL for
// a session that is gone would be answered with "not found", which otherwise means
// delivered. A crash exactly between that CONNACK and that sync is the one moment
// in which a message in state released could be taken for delivered.
//
// A session that another client has had (DISCONNECT 0x8E, session taken over) is not
// ours any more: its packet identifiers may stand for that client's messages. That
// is stored, and the next connection ends the session and begins a new one, as if
// the broker had lost it. So does any connection that finds a session which the
// records do not know. Where the records know none and the broker has none, one
// CONNECT without a clean start is all that it takes: CONNACK proves it.
//
// "Once" begins at the log's commit and ends at the broker, and assumes that the
// broker persists what it acknowledges.
//
// # live_first
//
// What has piled up for five seconds becomes a stream of its own, "backlog", and
// the stream "live" goes on at the head of the log. The reader serves live first
// whenever it is due. Windows of both are acknowledged as they complete; the log
// remembers what is finished beyond the contiguous part. Nothing else is stored:
// after a restart, what is neither finished nor in flight is split anew, at the
// latest frame that the live stream has sent.
package mqtt
