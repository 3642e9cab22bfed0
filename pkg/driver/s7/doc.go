// Package s7 is the driver for Siemens S7 PLCs: S7-300, S7-400, S7-1200 and S7-1500, over
// ISO on TCP, with a codec of its own (TPKT, COTP, S7comm) over any endpoint that is a
// stream.
//
// # How it works
//
// A driver's variables resolve to [Point]s. Points of one block or area are merged into
// ranges, and ranges are packed into as few requests as the size of messages that the PLC
// grants allows. One goroutine (the poller) keeps one connection, on which as many requests
// are on the way as the PLC grants. Each answer becomes one batch. A second goroutine
// publishes the batches, so that a log that exerts back-pressure holds up polling but no
// write.
//
// # What is believed
//
// An answer is gone through as a whole before anything of it is a value: reference,
// function, number of items, and the length of each must be what was asked for, with
// nothing left behind. What is wrong costs the connection, since what comes next could be
// wrong too. So does an answer that is late: on a new connection it can't arrive. An answer
// to nothing that is in flight is dropped and counted. References follow each other in
// large steps, so that a PLC that counts wrongly hits none that is in flight.
//
// # Failures
//
//   - A range that the PLC refuses is divided until each point that it refuses stands
//     alone; only these are bad, with the PLC's reason. They are asked for again now and
//     then.
//   - A refusal of the gateway itself (PUT/GET not enabled, a protection level) makes all
//     points of the request bad at once.
//   - A request that costs the connection again and again, although the PLC answers others
//     between, is refused in the same way.
//   - A connection that is lost is made anew at once. After retry attempts each point is
//     told bad once, and attempts go on with back-off.
//
// # Writes
//
// A write goes ahead of polls and is handed to the kernel once. If its answer is lost, what
// the PLC holds tells what became of it, or nobody knows: [driver.ErrOutcomeUnknown].
package s7

import "github.com/edge-gateway/edge-gateway/pkg/driver"

var (
	_ driver.Asker     = (*s7Driver)(nil)
	_ driver.Diagnoser = (*s7Driver)(nil)
	_ driver.Reasoner  = (*s7Driver)(nil)
	_ driver.Addresser = (*s7Driver)(nil)
)
