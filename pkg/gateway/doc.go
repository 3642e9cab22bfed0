// Package gateway is the composition root: it builds every part from gateway.yml,
// runs them, and stops them in the order in which nothing is lost.
//
//	            gateway.yml (bootstrap.Gateway)
//	                       │ Open
//	   ┌────────┬──────────┼───────────┬──────────┬──────────┐
//	   ▼        ▼          ▼           ▼          ▼          ▼
//	metrics    bus ◄──── drivers ──► pool     connectors   admin
//	listener    │          ▲                     ▲         socket
//	            │          │ apply.Runner        │
//	            └──────────┼─────────────────────┘ consumers
//	                  tables (directory)
//
// # Start
//
// Open takes the metrics port, the log (which locks its directory) and the admin
// socket, so that what is taken already is an error of the start. It registers the
// consumers before a driver can publish the first frame. Run applies the tables,
// starts the connectors, tells systemd, and then waits.
//
// Tables that cannot be used end the start, unless an earlier run has kept a good
// snapshot in the data directory: then that one runs, and the log says so loudly. A
// plant that comes back from a power cut must not stand still for a typing error.
//
// # Stop
//
//  1. tables: no further configuration is applied
//  2. drivers: each finishes or abandons its request within a second
//  3. bus: what was published is synced, so that connectors can read it
//  4. connectors: what is in flight gets two seconds to settle; the rest is kept in
//     the log and goes on with the next start
//  5. admin socket and metrics
//  6. log
//
// Parts that fail for good (the disk, the admin socket) end Run with their error. The
// process exits and its supervisor starts it again. A PLC or a broker that can't be
// reached is never such a failure.
package gateway
