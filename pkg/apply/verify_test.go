package apply_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// answer is what a driver of a verify test does from its start on.
type answer struct {
	before driver.State
	after  driver.Status // after starting for a second
	access config.Access // of the tag; "" is R
}

func TestVerify(t *testing.T) {
	read := time.Unix(1, 0)
	var (
		running  = driver.Status{State: driver.Running, Polls: 1, FirstRead: read}
		unread   = driver.Status{State: driver.Running, Polls: 1}
		talked   = driver.Status{State: driver.Fault, Polls: 1, Error: "exception 2"}
		dead     = driver.Status{State: driver.Fault, Error: "connection refused"}
		starting = driver.Status{State: driver.Starting}
		paused   = driver.Status{State: driver.Paused}
	)
	const all = "init connect first_read strict"
	for name, c := range map[string]struct {
		changed, added, reloaded answer
		passes                   string // the modes
	}{
		"all well":                      {answer{driver.Running, running, ""}, answer{after: running}, answer{driver.Running, running, ""}, all},
		"changed does not run":          {answer{driver.Running, dead, ""}, answer{after: running}, answer{driver.Running, running, ""}, "init"},
		"changed does not answer":       {answer{driver.Running, starting, ""}, answer{after: running}, answer{driver.Running, running, ""}, "init"},
		"changed talks, reads nothing":  {answer{driver.Running, talked, ""}, answer{after: running}, answer{driver.Running, running, ""}, "init connect"},
		"changed runs, reads nothing":   {answer{driver.Running, unread, ""}, answer{after: running}, answer{driver.Running, running, ""}, "init connect"},
		"changed was at fault":          {answer{driver.Fault, dead, ""}, answer{after: running}, answer{driver.Running, running, ""}, "init connect first_read"},
		"changed was starting long":     {answer{driver.Starting, dead, ""}, answer{after: running}, answer{driver.Running, running, ""}, "init connect first_read"},
		"changed was paused":            {answer{driver.Paused, paused, ""}, answer{after: running}, answer{driver.Running, running, ""}, all},
		"changed is paused meanwhile":   {answer{driver.Running, paused, ""}, answer{after: running}, answer{driver.Running, running, ""}, all},
		"changed only writes":           {answer{driver.Starting, starting, config.AccessW}, answer{after: running}, answer{driver.Running, running, ""}, all},
		"added has no device":           {answer{driver.Running, running, ""}, answer{after: dead}, answer{driver.Running, running, ""}, "init connect first_read"},
		"reloaded is at fault":          {answer{driver.Running, running, ""}, answer{after: running}, answer{driver.Running, talked, ""}, "init"},
		"reloaded was at fault already": {answer{driver.Running, running, ""}, answer{after: running}, answer{driver.Fault, talked, ""}, "init connect first_read"},
	} {
		for _, mode := range []apply.VerifyMode{apply.VerifyInit, apply.VerifyConnect, apply.VerifyFirstRead, apply.VerifyStrict} {
			t.Run(strings.ReplaceAll(name, " ", "_")+"/"+string(mode), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					answers := map[string]answer{"changed": c.changed, "added": c.added, "reloaded": c.reloaded}
					verify(t, mode, answers, strings.Contains(c.passes, string(mode)))
				})
			})
		}
	}
}

func verify(t *testing.T, mode apply.VerifyMode, answers map[string]answer, passes bool) {
	r := newRig(t, mode)
	old := newSite().endpoint("e", "a").driver("changed", "e", "1", "c").driver("reloaded", "e", "1", "r").rev(1)
	s := newSite().endpoint("e", "a").driver("changed", "e", "2", "c").driver("reloaded", "e", "1", "r=value / 2").driver("added", "e", "1", "a")
	for i := range s.vars {
		if access := answers[s.vars[i].DriverID].access; access != "" {
			s.vars[i].Access = access
		}
	}
	next := s.rev(2)
	r.boot(old)
	began := time.Now()
	var changed time.Time // when the phases touched the drivers
	r.fail = func(_ context.Context, call string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if changed.IsZero() && (strings.HasPrefix(call, "start") || strings.HasPrefix(call, "update")) {
			changed = time.Now()
		}
		return nil
	}
	r.status = func(id string) driver.Status {
		a := answers[id]
		switch {
		case changed.IsZero():
			return driver.Status{State: a.before, Since: began.Add(-time.Hour)}
		case time.Since(changed) < time.Second && a.after.State != driver.Paused && id != "reloaded":
			return driver.Status{State: driver.Starting, Since: changed}
		}
		return a.after
	}
	res := r.Apply(ctx, next, false)
	if passes {
		r.expect(res, apply.Applied, next)
		if d := time.Since(began); d > 1100*time.Millisecond {
			t.Errorf("took %s, though everything answered after a second", d)
		}
		return
	}
	r.expect(res, apply.RolledBack, old)
	if res.FailedIn != apply.Verifying || !errors.Is(res.Err, context.DeadlineExceeded) || !strings.Contains(res.Err.Error(), "not done within 10s") {
		t.Errorf("failed in %s: %v", res.FailedIn, res.Err)
	}
	if d := time.Since(began); d != 10*time.Second {
		t.Errorf("took %s, want verify's 10s", d)
	}
}

// The boot is not verified: a device that is away then is no reason not to run.
func TestBootIsNotVerified(t *testing.T) {
	r := newRig(t, apply.VerifyStrict)
	r.status = func(string) driver.Status { return driver.Status{State: driver.Fault} }
	old, _ := mixed()
	r.boot(old)
}

// A bad configuration that comes again while the drivers are on their way back
// does not pass as one whose drivers did not run before.
func TestBadOneComesAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, apply.VerifyConnect)
		old := newSite().endpoint("e", "good").driver("d", "e", "1", "x").rev(1)
		bad := newSite().endpoint("e", "bad").driver("d", "e", "1", "x").rev(2)
		var since time.Time
		host := ""
		r.status = func(id string) driver.Status {
			r.mu.Lock()
			defer r.mu.Unlock()
			if h := r.runs[id].Endpoint.Host; h != host {
				host, since = h, time.Now()
			}
			switch {
			case time.Since(since) < time.Second:
				return driver.Status{State: driver.Starting, Since: since}
			case host == "bad":
				return driver.Status{State: driver.Fault}
			}
			return driver.Status{State: driver.Running, Polls: 1}
		}
		r.boot(old)
		for range 3 { // the first one comes right after the boot
			r.expect(r.Apply(ctx, bad, false), apply.RolledBack, old)
		}
	})
}

// The reason names the drivers, what they do instead, and how many more there are.
func TestVerifySaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, apply.VerifyConnect)
		s, bad := newSite().endpoint("e", "a"), newSite().endpoint("e", "b")
		for i := range 30 {
			id := "d" + string(rune('a'+i%26)) + string(rune('a'+i/26))
			s.driver(id, "e", "1")
			bad.driver(id, "e", "1")
		}
		old := s.rev(1)
		r.boot(old)
		r.status = func(id string) driver.Status {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.runs[id].Endpoint.Host == "b" {
				return driver.Status{State: driver.Fault, Error: "connection refused"}
			}
			return driver.Status{State: driver.Running}
		}
		res := r.Apply(ctx, bad.rev(2), false)
		r.expect(res, apply.RolledBack, old)
		for _, want := range []string{"driver daa ran before", "its state is fault: connection refused; driver", "; and 10 more errors", "not done within 10s: "} {
			if !strings.Contains(res.Err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, res.Err)
			}
		}
	})
}

// TestDanglingReferences refuses a snapshot that names what it lacks, whatever the
// drivers say of it.
func TestDanglingReferences(t *testing.T) {
	f := newFake()
	plant := apply.NewPlant(apply.PlantConfig{Drivers: f, Endpoints: fakeEndpoints{f}, Settings: fakeSettings{f}, Verify: apply.VerifyInit})
	snap := config.NewSnapshot(
		map[string]config.Endpoint{"plc": {Scheme: "tcp", Host: "h"}},
		map[string]config.Driver{"good": {EndpointID: "plc"}, "lost": {EndpointID: "plx"}},
		[]config.Variable{{Tag: "a", DriverID: "good"}, {Tag: "b", DriverID: "nobody"}}, nil)
	_, err := plant.Prepare(t.Context(), &config.Snapshot{}, snap)
	for _, want := range []string{`driver lost: endpoint_id: there is no endpoint "plx"`, `variable b: driver_id: there is no driver "nobody"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %s", err, want)
		}
	}
}
