package point

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestTextsOfADevice: the last values of a driver's tags take a bounded number of bytes,
// however long the texts are that its device sends; what is too much is bad, and says why.
func TestTextsOfADevice(t *testing.T) {
	var vars []config.Variable
	for _, tag := range strings.Fields("a b c") {
		v := variable16(tag)
		v.Datatype, v.Address = config.TypeString, config.Address{Node: "ns=1;s=" + tag}
		vars = append(vars, v)
	}
	table := compileTable(t, nil, vars...)
	see := func(i, n int) (frame.Frame, string) {
		t.Helper()
		b := table.Begin(1)
		table.Observe(b, i, frame.StringValue(strings.Repeat("x", n)), frame.Good, 1)
		b = table.End(b)
		if b == nil {
			t.Fatal("no frame")
		}
		return b.Frames[0], b.Status(0)
	}
	if f, why := see(0, mostText); f.Quality != frame.Good || f.Value.TextBytes() != mostText || why != "" {
		t.Errorf("the longest text: %v, %q", f.Quality, why)
	}
	if f, why := see(0, mostText+1); f.Quality != frame.Bad || f.Value.TextBytes() != 0 || !strings.Contains(why, "longer than") {
		t.Errorf("a longer one: %v, %q", f.Quality, why)
	}
	if f, why := see(0, 10); f.Quality != frame.Good || why != "" {
		t.Errorf("a short one after it: %v, %q", f.Quality, why)
	}
	table.lock.texts = mostTexts - mostText
	if f, why := see(0, mostText); f.Quality != frame.Good {
		t.Errorf("the last one for which there is room: %q", why)
	}
	if f, why := see(1, longText+1); f.Quality != frame.Bad || !strings.Contains(why, "together") {
		t.Errorf("one more: %v, %q", f.Quality, why)
	}
	if f, _ := see(1, longText); f.Quality != frame.Good {
		t.Error("a short one is always taken")
	}
	if f, _ := see(0, 5*longText); f.Quality != frame.Good {
		t.Error("one in the place of a longer one is taken")
	}
	b := table.Begin(1)
	table.Lost(b, 0, 2)
	table.End(b)
	if table.lock.texts != mostTexts-mostText {
		t.Errorf("%d bytes are counted after all texts went, and %d were before", table.lock.texts, mostTexts-mostText)
	}
	see(0, mostText)
	see(2, 2*longText)
	table = compileTable(t, table, vars[0], vars[1])
	if table.lock.texts != mostText {
		t.Errorf("%d bytes are counted without the third tag, want %d", table.lock.texts, mostText)
	}
}
