package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// measure is one of the quantities that must not grow while the load stays the same.
type measure struct {
	name  string
	unit  string
	noise float64 // growth over the measurement that means nothing, whatever its length
	read  func() float64
	took  []float64
}

// grown returns by how much the measure grew, from a line through what was taken
// (least squares): single peaks count little.
func (m *measure) grown() float64 {
	n := float64(len(m.took))
	if n < 2 {
		return 0
	}
	var sumX, sumY, sumXY, sumXX float64
	for i, y := range m.took {
		x := float64(i)
		sumX, sumY, sumXY, sumXX = sumX+x, sumY+y, sumXY+x*y, sumXX+x*x
	}
	return (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX) * (n - 1)
}

// verdict says how much the measure grew, and whether that is too much: more than the
// noise and than a tenth of what it was on average.
func (m *measure) verdict(period time.Duration) (text string, bad bool) {
	var mean float64
	for _, y := range m.took {
		mean += y / float64(len(m.took))
	}
	grown := m.grown()
	bad = grown > m.noise && grown > mean/10
	return fmt.Sprintf("%-11s %8.1f %s on average, %+.2f in %v, %+.2f an hour", m.name, mean, m.unit, grown, period.Round(time.Second), grown/period.Hours()), bad
}

// growing are the measures of a gateway.
func growing(t *testing.T, gw *peer.Gateway) []*measure {
	metric := func(name string) func() float64 {
		return func() float64 {
			n, ok := gw.Metric(name)
			if !ok {
				t.Fatalf("no metric %s", name)
			}
			return n
		}
	}
	return []*measure{
		{name: "goroutines", noise: 10, read: metric("go_goroutines")},
		{name: "memory", unit: "MiB", noise: 8, read: func() float64 { _, anon := gw.Proc().Memory(t); return anon }},
		{name: "descriptors", noise: 5, read: func() float64 {
			names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", gw.Proc()))
			if err != nil {
				t.Fatal(err)
			}
			return float64(len(names))
		}},
		{name: "disk", unit: "MiB", noise: 64, read: func() float64 { return diskUse(t, filepath.Join(gw.Dir, "data")) }},
	}
}

// diskUse returns the size of all files under dir, in MiB. Those that go meanwhile
// don't count.
func diskUse(t *testing.T, dir string) (size float64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var fi fs.FileInfo
			if fi, err = d.Info(); err == nil {
				size += float64(fi.Size()) / (1 << 20)
			}
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// watchGrowth takes the measures for a period, and tells those that grow.
func watchGrowth(t *testing.T, period time.Duration, measures []*measure) {
	t.Helper()
	every := max(period/200, 100*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(period); time.Now().Before(end); <-tick.C {
		for _, m := range measures {
			m.took = append(m.took, m.read())
		}
	}
	for _, m := range measures {
		text, bad := m.verdict(period)
		t.Log(text)
		if bad && period >= 40*time.Second { // before, what a start leaves is still going
			t.Errorf("%s grow: %s", m.name, strings.TrimSpace(text))
		}
	}
}

// TestVerdict: a leak is told from noise, from peaks and from a start.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(i int) float64
		bad  bool
	}{
		{"level", func(int) float64 { return 40 }, false},
		{"noise", func(i int) float64 { return 40 + float64(i*7919%13) }, false},
		{"peak", func(i int) float64 { return 40 + 100*float64(i/190*(190/max(i, 1))) }, false},
		{"falls", func(i int) float64 { return 80 - float64(i)/10 }, false},
		{"leak", func(i int) float64 { return 40 + float64(i)/10 }, true},
		{"leak under noise", func(i int) float64 { return 40 + float64(i)/10 + float64(i*7919%13) }, true},
		{"small leak of much", func(i int) float64 { return 4000 + float64(i)/10 }, false},
	} {
		m := &measure{name: c.name, noise: 8}
		for i := range 200 {
			m.took = append(m.took, c.f(i))
		}
		if text, bad := m.verdict(time.Minute); bad != c.bad {
			t.Errorf("%s: bad %v", text, bad)
		}
	}
}
