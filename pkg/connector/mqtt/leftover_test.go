package mqtt

import "testing"

func TestCovers(t *testing.T) {
	cases := []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"a/#", "a/b/c", true},
		{"a/#", "a", true},
		{"a/#", "ab", false},
		{"#", "a/b", true},
		{"#", "/a", true},
		{"+/b", "a/b", true},
		{"+/b", "/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+/c", "a/b/c", true},
		{"a/+", "a/b/c", false},
		{"/a/b", "a/b", false},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"$share/group/a/#", "a/b", true},
		{"$share/group/a/#", "b/a", false},
		{"a/B", "a/b", false},
	}
	for _, c := range cases {
		if got := covers(c.filter, c.topic); got != c.want {
			t.Errorf("%q covers %q: %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}
