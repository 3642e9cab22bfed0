package admin

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// credentialsOf asks the kernel who opened the other end of a unix socket.
func credentialsOf(raw syscall.RawConn) (Peer, error) {
	var cred *unix.Ucred
	var err error
	if ctl := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); ctl != nil {
		return Peer{}, ctl
	}
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

// bornPrivate gives a socket that is not yet bound the mode of the file that it makes.
func bornPrivate(fd uintptr) error { return unix.Fchmod(int(fd), 0o600) }

// ownerOf names the user and the group whose file it is.
func ownerOf(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return userName(st.Uid) + ":" + groupName(st.Gid)
	}
	return "another user"
}

// noGateway says what to do where no socket was found; the gateway may be elsewhere.
const noGateway = "Is it running? If its admin socket is elsewhere (admin.socket or data_dir in its gateway.yml, " +
	"or what 'edge-gw demo' prints), name it with --socket PATH"
