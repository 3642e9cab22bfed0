package center

import "path/filepath"

// EmbeddedSocket returns where the etcd inside a gateway listens, given its
// data_dir. It stands here, and not with the server, so that the operators' tools
// find it without linking the server.
func EmbeddedSocket(dataDir string) string { return filepath.Join(dataDir, "etcd.sock") }
