// Package embedded runs etcd's server inside the gateway's process, for a site
// that has no etcd cluster of its own.
//
// It is one member, for ever: it has no peers and no peer listener. It listens
// on a unix socket below data_dir, which only the gateway's user may enter, and on
// nothing else unless an address is asked for. There is no TLS and no password on
// that address; who needs them runs a cluster beside the gateway.
//
// # When it breaks
//
// etcd ends the process on what it holds to be fatal: a damaged log, a failed
// write. A gateway must go on polling then, so its fatal errors end the goroutine
// that hit them, and [Server.Run] returns the error. What the store had
// acknowledged is on disk (etcd syncs its log before it answers); the gateway goes
// on with the configuration that it runs.
//
// # What it costs
//
// See docs/config-center.md for figures of time and memory. Three settings keep
// the memory small: the raft log in memory is short (there is no follower to catch
// up), history is compacted hourly, and the gRPC-JSON gateway is off.
package embedded
