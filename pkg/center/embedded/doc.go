// Package embedded runs etcd's server inside the gateway's process, for a site
// that has no etcd cluster of its own.
//
// It is one member, for ever: it has no peers and no peer listener. It listens on a unix
// socket below data_dir, which only the gateway's user may enter, and on nothing else
// unless an address is asked for. That address has no TLS and no password: a site that
// needs them runs a cluster next to the gateway.
//
// # When it breaks
//
// etcd ends the process on a fatal error: a damaged log, a failed write. A gateway must
// keep polling then, so a fatal error ends the goroutine that hit it, and [Server.Run]
// returns the error. Everything that the store has acknowledged is on disk (etcd syncs
// its log before it answers). The gateway keeps the configuration that it runs.
//
// A first start that is cut off leaves a store that etcd can't complete. The file BEGINNING
// stands in its directory until it is ready; a start that finds it makes the store anew.
//
// # What it costs
//
// See docs/config-center.md for figures of time and memory. Three settings keep
// the memory small: the raft log in memory is short (there is no follower to catch
// up), history is compacted hourly, and the gRPC-JSON gateway is off.
package embedded
