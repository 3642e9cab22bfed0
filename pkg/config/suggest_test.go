package config

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"polling", "unit_id", "max_gap", "retry", "R", "RW"}
	for word, want := range map[string]string{
		"poling": "polling", "pollling": "polling", "unitid": "unit_id", "retyr": "retry", "POLLING": "polling",
		"r": "R", "x": "", "bananas": "", "": "", "rw": "RW", "polling": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
