package center

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestWaitCounts plays what gateways do during a wait, and when, to whom it is for.
func TestWaitCounts(t *testing.T) {
	c := Commit{ID: "new", Rev: 7, SHA256: "n"}
	old, lost := Status{State: Applied, Tried: "old", SHA256: "o", Rev: 6, Target: 6}, Status{State: Applied, Tried: "lost", SHA256: "l", Rev: 9, Target: 9}
	done := Status{State: Applied, Tried: "new", SHA256: "n", Rev: 7, Target: 7}
	bad := Status{State: Rejected, Tried: "new", SHA256: "o", Rev: 6, Target: 7, Error: "no"}
	at := func(name string, st Status, online bool) Gateway { st.Gateway = name; return Gateway{st, online} }
	for _, tt := range []struct {
		name   string
		whom   Whom
		first  []Gateway
		then   []Gateway
		passes time.Duration
		want   string // "waits", "ok", or a part of the error
	}{
		{"nobody", Whom{}, nil, nil, 0, "ok"},
		{"nobody of all", Whom{All: true}, nil, nil, 0, "no gateway ever registered"},
		{"busy", Whom{}, []Gateway{at("a", old, true)}, nil, 0, "waits"},
		{"done", Whom{}, []Gateway{at("a", old, true)}, []Gateway{at("a", done, true)}, 0, "ok"},
		{"lost history is not it", Whom{}, []Gateway{at("a", lost, true)}, nil, 0, "waits"},
		{"refused", Whom{}, []Gateway{at("a", bad, true)}, nil, 0, "a: rejected: no"},
		{"offline from the start", Whom{}, []Gateway{at("a", done, true), at("b", old, false)}, nil, 0, "ok"},
		{"all are offline", Whom{}, []Gateway{at("b", old, false)}, nil, 0, "b is offline"},
		{"killed meanwhile", Whom{}, []Gateway{at("a", old, true)}, []Gateway{at("a", old, false)}, time.Minute, "a is offline"},
		{"killed a moment ago", Whom{}, []Gateway{at("a", old, true)}, []Gateway{at("a", old, false)}, time.Second, "waits"},
		{"started anew", Whom{}, []Gateway{at("a", old, true)}, []Gateway{at("a", old, false), at("a", old, true)}, time.Minute, "waits"},
		{"done, then stopped", Whom{}, []Gateway{at("a", done, true)}, []Gateway{at("a", done, false)}, time.Minute, "ok"},
		{"all, one offline", Whom{All: true}, []Gateway{at("a", done, true), at("b", old, false)}, nil, time.Minute, "waits"},
		{"named, not there", Whom{Names: []string{"x"}}, []Gateway{at("a", done, true)}, nil, time.Minute, "waits"},
		{"named, done", Whom{Names: []string{"a"}}, []Gateway{at("a", done, true), at("b", bad, true)}, nil, 0, "ok"},
		{"named, offline", Whom{Names: []string{"b"}}, []Gateway{at("b", old, false)}, nil, time.Minute, "waits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			w := &applyWait{commit: c, head: c, whom: tt.whom, now: func() time.Time { return now }, all: map[string]*waited{}}
			var err error
			for _, g := range tt.first {
				if err := w.event(Event{Kind: EventStatus, Gateway: g}); err != nil {
					t.Fatal(err)
				}
			}
			w.listed = true
			for _, g := range tt.then {
				_ = w.event(Event{Kind: EventStatus, Gateway: g}) // asked again below
			}
			now = now.Add(tt.passes)
			got := "waits"
			if err = w.check(); errors.Is(err, errSettled) {
				if got = "ok"; w.result() != nil {
					got = w.result().Error()
				}
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, expected %q", got, tt.want)
			}
		})
	}
}
