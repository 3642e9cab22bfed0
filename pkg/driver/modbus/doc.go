// Package modbus is the driver for Modbus devices: framings TCP, RTU and ASCII
// over any endpoint, every data type and byte order, polling at the line's
// speed, writes ahead of polls.
//
// # How it works
//
// A driver's variables resolve to [Point]s, which a plan merges into as few read
// requests as the settings allow, grouped into classes by polling interval. One
// goroutine (the poller) asks them on a schedule, over a connection that it
// leases from the endpoint's pool for one request, or a few with max_inflight,
// so that drivers with other unit ids on the same endpoint get their turn. Each
// answer becomes one batch. A second goroutine publishes the batches, so that a
// log that exerts back-pressure holds up polling (a bounded queue fills) but
// neither a lease nor a write.
//
// # What is believed
//
// A value is decoded only from an answer that has the transaction id (TCP) or checksum
// (RTU, ASCII), unit, function and length that were asked for, with nothing behind it.
// Answers to another transaction are dropped while waiting goes on; any other fault costs
// the connection, because its next answer could be late too.
//
// # Failures
//
//   - A request that is refused is taken apart by a hunt, until each point that the
//     device refuses stands alone; only these are bad. If nothing in it is answered,
//     it stays as it is: a device that starts is no bad register.
//   - A request without an answer, or that is answered by busy or acknowledge, is
//     asked again; then what was answered last is. If that is answered, the first
//     one is taken apart. If retry + 2 requests in a row get nothing, the driver is
//     in fault: each point is published bad once, and the device is probed with one
//     request at intervals that double up to backoff_max, of which every other is
//     for a single point.
//   - What was taken apart is put together again: at once around the culprits, and
//     with them when they are answered, asked more and more rarely. A try that
//     fails costs no value.
//   - Hunts and joins have an allowance of requests beyond those of the plan.
//   - A cycle that is not done when the next should begin makes that one skipped.
//
// # goburrow/modbus
//
// That library packs every request and is the client for writes, reads on demand and
// diagnostics. Answers of polls over TCP are parsed in place instead, because the library
// would allocate for each; see docs/adr/modbus-codec.md.
package modbus
