//go:build !linux

package admin

import (
	"fmt"
	"io/fs"
	"runtime"
	"syscall"
)

// A gateway runs on Linux. What is here lets the commands be built and used elsewhere;
// a server that is started all the same lets nobody in.

// credentialsOf knows no way to tell who is there, so that nobody is let in.
func credentialsOf(syscall.RawConn) (Peer, error) {
	return Peer{}, fmt.Errorf("not known on %s", runtime.GOOS)
}

// bornPrivate has no mode to give that the file would be born with.
func bornPrivate(uintptr) error {
	return fmt.Errorf("an admin socket can't be made private on %s", runtime.GOOS)
}

// ownerOf does not know the owner.
func ownerOf(fs.FileInfo) string { return "another user" }

// noGateway says what to do where no socket was found: there can be none.
const noGateway = "A gateway runs on Linux, not on " + runtime.GOOS + ". Run this command on its machine, or forward the socket " +
	"(ssh -L ./edge-gw.sock:/run/edge-gw/admin.sock MACHINE) and name it with --socket PATH"
