package peer

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Proc is a running process by its identifier, as /proc knows it.
type Proc int

func (p Proc) file(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", int(p), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// CPU returns the processor time that the process has used.
func (p Proc) CPU(t testing.TB) time.Duration {
	t.Helper()
	data := p.file(t, "stat")
	// proc(5): utime and stime are fields 14 and 15, in clock ticks of 10 ms;
	// the second field is a name in parentheses.
	fields := strings.Fields(data[strings.LastIndexByte(data, ')')+1:])
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Memory returns the process's resident and anonymous memory in MiB.
func (p Proc) Memory(t testing.TB) (rss, anon float64) {
	t.Helper()
	for line := range strings.Lines(p.file(t, "status")) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f", &kib); err == nil {
			rss = kib / 1024
		}
		if _, err := fmt.Sscanf(line, "RssAnon: %f", &kib); err == nil {
			anon = kib / 1024
		}
	}
	return rss, anon
}
