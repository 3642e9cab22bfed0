// Package sdk is what a driver for edge-gateway is written with, by people who don't
// change the gateway. A driver is one executable:
//
//	func main() { sdk.Main(sdk.Driver{Name: "random", Version: "1.0.0", Open: open}) }
//
// Open connects to the device and returns a [Device]. The gateway calls its methods one
// after the other, never two at the same time: Poll at each interval for the points of a
// [Group], Write when somebody writes. It keeps the intervals, the order of writes and
// polls, scales, deadbands, back-off and the state.
//
// # Failures
//
// An error of Open or Poll says that the device is away: the gateway closes it and opens it
// again, with pauses. A point that can't be read alone is [Group.Fail]ed. A method that does
// not return soon after its context ends makes the gateway end the process and start it
// anew. So does a panic. Nothing is lost by that but time.
//
// # Logs
//
// What the driver writes with [Config].Log, to standard output or to standard error is in
// the gateway's log, with the driver's id. The gateway takes some lines a second.
package sdk
