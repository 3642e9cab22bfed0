package busadmin

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer(2)
		second := int64(time.Second)
		for i, want := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
			if got := p.wait(int64(i) * second); got != want {
				t.Errorf("frame %d: %s, want %s", i, got, want)
			}
		}
		if got := NewPacer(0).wait(99 * second); got != 0 {
			t.Errorf("at full speed: %s", got)
		}
	})
}
