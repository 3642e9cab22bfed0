// Package dyn runs drivers of kind dyn: each is an executable below drivers_dir, in a
// process of its own for each item of the drivers table, spoken to by hashicorp/go-plugin's
// handshake and gRPC with mutual TLS on a Unix socket. Package plugin is what the gateway
// does for it; this package is the file, the process, and the connection between them.
//
// # What may run
//
// Somebody who may push tables chooses among the drivers that are installed, and runs
// nothing else. path is relative and stays below drivers_dir. The file, and each directory
// from the root to it, belong to root or to the gateway's user, and nobody else may write to
// them. No part of the path below drivers_dir is a symbolic link. The file has no set-user-id
// or set-group-id bit. A script is run where its interpreter is held to the same rules. The
// file is opened once: its checks, its sha256 and its execution are of that descriptor, so
// that nothing can be put in its place between them.
//
// # What it may do
//
// The process runs as the gateway's user: whoever installs a driver trusts it as far as the
// gateway. What is bounded is what a driver does by mistake. It gets a clean environment and
// no descriptors but its standard ones, can gain no privileges, has a process group of its
// own, limits of memory, descriptors, processes and file sizes, a lower priority, and a
// directory of its own for its socket and temporary files. It dies with the gateway: the
// kernel kills it, and its standard input ends.
//
// # How it ends
//
// A driver is asked to end, has a moment for that, and then its process group is killed,
// with whatever it has started, also what left the group. The process is waited for and its
// directory removed before Stop returns.
package dyn
