package mqtt

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// TestAwayIsTold: while the broker is away, attempts that fail leave the time and the
// reason, the next attempt is named, and a pause is shown as one.
func TestAwayIsTold(t *testing.T) {
	t.Parallel()
	b := fakebroker.Start(t, fakebroker.Script{})
	r := newRig(t, b.URL(), nil)
	r.start()
	state := func(want string) func() bool { return func() bool { return r.conn.Status().State == want } }
	peerWait(t, "a connection", state("up"))
	b.Stop()
	peerWait(t, "its loss", state("down"))
	since, tried := r.conn.Status().Since, r.conn.Status().Reconnects
	told := false
	peerWait(t, "more attempts", func() bool {
		st := r.conn.Status()
		if st.State != "down" || !st.Since.Equal(since) {
			t.Fatalf("%s since %s (%s), want down since %s", st.State, st.Since, st.Error, since)
		}
		told = told || st.NextAttempt.After(since)
		return st.Reconnects >= tried+4
	})
	if !told {
		t.Error("the next attempt was never named")
	}
	r.conn.SetPaused(true)
	st := r.conn.Status()
	if st.State != "paused" || !st.Since.After(since) || !strings.Contains(st.Error, "not connected") {
		t.Errorf("paused while away: %+v", st)
	}
	b.Listen()
	peerWait(t, "a connection again", func() bool { return r.conn.Status().Error == "" })
	if !state("paused")() {
		t.Errorf("%s, want paused: it is not up", r.conn.Status().State)
	}
	r.conn.SetPaused(false)
	if !state("up")() {
		t.Errorf("%s, want up", r.conn.Status().State)
	}
}

// TestReconnectOnce: a connection that a person has asked for is not dropped by the
// very request.
func TestReconnectOnce(t *testing.T) {
	t.Parallel()
	b := fakebroker.Start(t, fakebroker.Script{})
	r := newRig(t, b.URL(), map[string]any{"backoff": map[string]any{"base": "1m", "max": "1m"}})
	r.start()
	up := func() bool { return r.conn.Status().State == "up" }
	peerWait(t, "a connection", up)
	for range 30 {
		b.Stop()
		peerWait(t, "its loss", func() bool { return r.conn.Status().State == "down" })
		b.Listen()
		before := b.Accepted()
		r.conn.Reconnect()
		peerWait(t, "a connection", up)
		time.Sleep(5 * time.Millisecond) // in which a late token would drop it
		if n := b.Accepted() - before; n != 1 || !up() {
			t.Fatalf("%d connections for one request, %s now", n, r.conn.Status().State)
		}
	}
	before := b.Accepted()
	r.conn.Reconnect()
	b.WaitFor(5*time.Second, "another connection", func() bool { return b.Accepted() == before+1 && up() })
}
