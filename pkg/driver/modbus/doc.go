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
// A value is decoded only from an answer that has the transaction id (TCP) or
// checksum (RTU, ASCII), unit, function and length that were asked for, with
// nothing behind it. Answers to another transaction are dropped while waiting
// goes on; anything else that is wrong costs the connection, since what it says
// next could be late too.
//
// # Failures
//
//   - A request without an answer is asked again, up to retry times, each time on
//     a new connection after a growing pause. Then another request is asked: if
//     that is answered, only the first one's points are bad. If not, the driver
//     is in fault: each point is published bad once, and the device is probed
//     with one request at intervals that double up to backoff_max.
//   - An exception means that the device is alive. IllegalDataAddress and
//     IllegalDataValue split the request until the guilty point is found, which
//     is remembered for the life of the plan; only that point is bad.
//     IllegalFunction makes the points of that function bad. Busy and Acknowledge
//     wait and ask again. What stays refused is asked more and more rarely.
//   - A cycle that is not done when the next should begin makes that one skipped.
//
// # goburrow/modbus
//
// That library packs every request and is the client for writes, reads on demand
// and diagnostics. Answers of polls over TCP are parsed in place instead, since
// it would allocate for each; see docs/adr/modbus-codec.md.
package modbus
