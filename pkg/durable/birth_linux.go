package durable

import (
	"time"

	"golang.org/x/sys/unix"
)

// birthTime returns when a file was made, in Unix nanoseconds; ok is false where the
// file system does not say.
func birthTime(path string) (made int64, ok bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil {
		return 0, false, err
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).UnixNano(), st.Mask&unix.STATX_BTIME != 0, nil
}
