// Package plugin is the gateway's side of a driver whose code is not part of the gateway.
// It keeps what is the same for every driver: points, scale, deadband, publishing, poll
// intervals, back-off, the state, the order of writes and polls. What asks the device is a
// [Session], which package dyn makes of a process.
//
// # What is believed
//
// Nothing. The contract (schemas/driver/v1) says what a session may answer, and each
// answer is checked as a whole before a value of it counts. Answers with too few or too
// many values, with columns of another length, or with kinds that there are not, are
// faults of the driver. A value that its variable's data type can't have makes that tag
// bad, with the reason. What a session says of tags that it was not asked for has no place
// in the contract.
//
// # Failures
//
//   - The device: the driver says so in a response. The connection is closed and opened
//     again with back-off; after retry attempts each tag is told bad, once.
//   - The driver: a call fails, or does not end in time, or the heartbeat stays away, or
//     the session ends. Each tag is told bad, once, and Run returns an error, so that the
//     manager starts the driver anew after a pause.
package plugin

import "github.com/edge-gateway/edge-gateway/pkg/driver"

var (
	_ driver.Driver    = (*Driver)(nil)
	_ driver.Diagnoser = (*Driver)(nil)
	_ driver.Reasoner  = (*Driver)(nil)
	_ driver.Addresser = (*Driver)(nil)
)
