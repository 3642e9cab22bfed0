//go:build unix

package intake

import "golang.org/x/sys/unix"

// lastDescriptor returns the first descriptor that a connection may not have. The
// system gives the lowest that is free: whoever has one as high leaves no more than
// the reserve.
func lastDescriptor() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 20
	}
	cur := int(min(limit.Cur, 1<<20))
	return cur - max(reserveLeast, cur/reservePart)
}
