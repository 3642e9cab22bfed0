package words

import "testing"

func TestCount(t *testing.T) {
	for _, c := range []struct {
		n           int
		thing, want string
	}{
		{0, "frame", "0 frames"},
		{1, "frame", "1 frame"},
		{2, "frame", "2 frames"},
		{1, "entry", "1 entry"},
		{3, "entry", "3 entries"},
		{2, "day", "2 days"},
		{2, "audit record", "2 audit records"},
	} {
		if got := Count(c.n, c.thing); got != c.want {
			t.Errorf("%d of %q are %q, expected %q", c.n, c.thing, got, c.want)
		}
	}
	if got := Are(1) + Are(0) + Are(2); got != "isareare" {
		t.Errorf("one, none and two: %s", got)
	}
	if got := Form(uint64(1), "tag"); got != "tag" {
		t.Errorf("1 %s", got)
	}
}
