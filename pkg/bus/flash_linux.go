package bus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// diskRate returns how many syncs a second the disk below dir bears for years.
func diskRate(dir string) int {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return flashRate
	}
	return rateOf("/sys", fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), 8)
}

// rateOf asks sysfs about a block device, and about those that it is made of, at most
// depth of them above each other.
func rateOf(sys, device string, depth int) int {
	place, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", device))
	if err != nil || depth == 0 { // a file system that has no block device of its own, or none at all
		return flashRate
	}
	if strings.Contains(place, "/mmc_host/") || strings.Contains(place, "/usb") {
		return flashRate
	}
	rate := quickRate
	below, err := filepath.Glob(filepath.Join(place, "slaves", "*", "dev"))
	if err != nil {
		return flashRate
	}
	for _, file := range below {
		id, err := os.ReadFile(file) //nolint:gosec // the kernel names it
		if err != nil {
			return flashRate
		}
		rate = min(rate, rateOf(sys, strings.TrimSpace(string(id)), depth-1))
	}
	return rate
}
