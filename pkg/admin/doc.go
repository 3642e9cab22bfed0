// Package admin is the API on the gateway's admin socket: the server that the
// gateway runs and the client that the commands use. The protocol is in
// schemas/admin/v1, generated into package adminpb.
//
// # Shape
//
//	edge-ctl ─► Client ─► unix socket ─► Server ─► Backend ─► driver.Manager, bus.Bus …
//
// The services and messages are the generated ones on both ends: the composition root
// implements them from the parts that it runs, and the commands call them. A part that
// is nil answers UNIMPLEMENTED. This package stands between: it bounds, audits and
// turns errors into statuses and back. [BusBackend] alone is an interface of its own,
// so that a command may work on a stopped gateway's directory without knowing.
//
// # A new status field
//
// Add it to the part's status type and, under the same name, to the message in
// schemas/admin/v1, then run make generate. [Fill] carries it over, and the commands
// print it as the options in show.proto say. A field that gets lost on the way fails
// TestEveryStatusIsTold or TestEveryFieldIsShown.
//
// # The gateway comes first
//
// No call may slow a poll. A watch of tags is sampled, within a budget that all clients
// share. Events (tail, trace, changes of the configuration) go through a bounded queue
// that drops and counts. Connections, calls at once, message sizes and the rate of
// mutating calls are bounded. A panic in a call ends the call.
//
// # Who may call
//
// The file mode and group of the socket decide who can connect. The kernel names the
// caller's process and user (SO_PEERCRED). Each call that changes something is handed to
// [Deps].Audit with them, whether it succeeded or not.
package admin
