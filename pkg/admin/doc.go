// Package admin is the API on the gateway's admin socket: the server that the
// gateway runs and the client that the commands use. The protocol is in
// schemas/admin/v1, generated into package adminpb.
//
// # Shape
//
//	edge-ctl ─► Client ─► unix socket ─► Server ─► Backend ─► driver.Manager, bus.Bus …
//
// [Backend] is a set of small interfaces in terms of plain structs. The
// composition root implements them from the parts that it runs; a part that is
// nil answers UNIMPLEMENTED. The parts of a [Client] implement the same
// interfaces, so that a command may work on the socket or on something else, such
// as a log directory, without knowing.
//
// # The gateway comes first
//
// No call may slow a poll. What is watched is sampled, and shown within a budget
// that all clients share (tags), or handed over through a bounded queue that drops,
// and counts what it dropped (tail, trace, configuration events). Connections, calls
// at once, message sizes and the rate of mutating calls are bounded. A panic in a
// call ends the call.
//
// # Who may call
//
// The file mode and group of the socket decide who can connect. The kernel names
// the caller's process and user (SO_PEERCRED); each call that changes something is
// handed to [Deps].Audit with them, whether it succeeded or not.
package admin
