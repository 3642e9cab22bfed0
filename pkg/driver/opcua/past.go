package opcua

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// past is what a driver leaves for the one after it: until when it had values. What the
// server measured from then on, until the next one has values, is lost, and told.
type past struct {
	Address string    `json:"address"` // of the server
	Until   time.Time `json:"until"`   // by the server's clock
}

// pastEvery is how often it is written: a gap that a killed process leaves begins that
// much too early.
const pastEvery = 5 * time.Second

// pastFile is where it is; "" if nothing is kept.
func (d *opcuaDriver) pastFile() string {
	if d.client.opts.State == "" || d.settings.Mode != ModeSubscribe {
		return ""
	}
	return filepath.Join(d.client.opts.State, d.id+".json")
}

// recall makes a gap of the time since the driver before this one had values.
func (r *runner) recall() {
	file := r.d.pastFile()
	if file == "" {
		return
	}
	var p past
	raw, err := regular.ReadFile(file, 64<<10)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.d.deps.Log.Warn("when this driver had values last is not known: a gap since then is not told", "file", file, "error", err)
		}
		return
	}
	if p.Address == r.c.access.Address && !p.Until.IsZero() {
		r.gap = &gap{from: p.Until, why: "this driver did not run", nodes: len(r.d.plans.Newest().points)}
	}
}

// remember notes until when there are values.
func (r *runner) remember(now time.Time) {
	p := past{Address: r.c.access.Address}
	for _, s := range r.subs {
		if p.Until = laterOf(p.Until, s.published); s.gap != nil {
			return // what is before it was not told yet
		}
	}
	file := r.d.pastFile()
	if file == "" || r.gap != nil || !p.Until.After(r.past) {
		return
	}
	r.past, r.pastAt = p.Until, now
	raw, err := json.Marshal(p)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(file, raw, 0o600)
	}
	if err != nil && !r.forgetful {
		r.forgetful = true
		r.d.deps.Log.Warn("a gap that a restart leaves may be told too long, or not at all", "error", err)
	}
}
