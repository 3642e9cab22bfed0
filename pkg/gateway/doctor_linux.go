package gateway

import "syscall"

// timeError is what adjtimex returns for a clock that nothing sets.
const timeError = 5

// clockSynchronised reports whether a time server sets the clock, if the kernel tells.
func clockSynchronised() (ok, known bool) {
	state, err := syscall.Adjtimex(&syscall.Timex{})
	return state != timeError, err == nil
}
