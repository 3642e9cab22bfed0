package center

import "testing"

// TestSnapshotNamesItsCommit: what runs knows who pushed it, and why.
func TestSnapshotNamesItsCommit(t *testing.T) {
	v := Version{Commit: Commit{Rev: 7, Author: Author{Name: "ann", OSUser: "root", Host: "desk"}, Message: "a new pump"}}
	snap, err := v.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	if snap.Rev != 7 || snap.Author != "ann (root@desk)" || snap.Message != "a new pump" {
		t.Errorf("rev %d by %q: %q", snap.Rev, snap.Author, snap.Message)
	}
}
