package embedded

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Restore makes the data of a server in dir, which must not exist, from a snapshot:
// a file as etcdctl snapshot save writes it, and as center.Store.SaveTo does.
//
// Revisions go on skip after those of the snapshot, so that none names two different
// things: after the snapshot was made, the server that it is of may have given out
// some more.
func Restore(dir, file string, skip uint64) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("restore etcd: %w", err)
	}
	c := embed.NewConfig()
	err := broken(func() error {
		return snapshot.NewV3(zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))).Restore(snapshot.RestoreConfig{
			SnapshotPath: file, OutputDataDir: dir, Name: memberName, PeerURLs: []string{peerURL},
			InitialCluster: c.InitialClusterFromName(memberName), InitialClusterToken: c.InitialClusterToken,
			RevisionBump: skip, MarkCompacted: skip > 0,
		})
	})
	if err != nil {
		return fmt.Errorf("restore etcd: %w", err)
	}
	return nil
}

// broken makes an error of a panic: etcd checks a snapshot's hash, and trusts what
// is in it.
func broken(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(err, fmt.Errorf("the snapshot can't be used: %v", r))
		}
	}()
	return do()
}
