package s7

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// Transport returns the TCP endpoint that is dialled for an endpoint of scheme s7, on port
// 102 if ep has none. ok is false if ep has another scheme.
func Transport(ep config.Endpoint) (tcp config.Endpoint, ok bool) {
	if ep.Scheme != Proto {
		return ep, false
	}
	ep.Scheme = "tcp"
	if ep.Port == 0 {
		ep.Port = DefaultPort
	}
	return ep, true
}

// probeAbility finds the CPU of a PLC and shows what it tells of itself.
func probeAbility() *driver.Ability {
	return &driver.Ability{
		Help: `Of a Siemens S7 PLC (s7://HOST) it finds the slot of the CPU, and shows the order
number, firmware, operating state, protection level and diagnostics buffer. It
needs a free connection of the PLC, or asks over the one of a driver that polls it.`,
		Example: `  edge-ctl probe s7://192.168.10.20`,
		Options: placeOptions(),
		Columns: []driver.Column{{Name: "RACK", Right: true}, {Name: "SLOT", Right: true}, {Name: "CONNECTION"}, {Name: "ANSWER", Keep: true}},
		Check:   func(a driver.Args) error { _, err := placesToTry(driver.Target{}, a); return err },
		Run:     probe,
	}
}

// placeOptions are those that say where the CPU is.
func placeOptions() []driver.Option {
	return []driver.Option{
		{Name: "rack", Type: "int", Usage: "s7: rack of the CPU (default: where one answers)"},
		{Name: "slot", Type: "int", Usage: "s7: slot of the CPU (default: where one answers)"},
		{Name: "plc", Type: "string", Usage: "s7: a PLC without rack and slot: logo, s7-200, s7-200-smart"},
	}
}

// placesToTry are where a CPU may be: where a person says, where the drivers of the
// endpoint have it, or where CPUs are as a rule.
func placesToTry(to driver.Target, a driver.Args) (places []tried, err error) {
	one := map[string]any{}
	for _, key := range []string{"rack", "slot"} {
		if text, given := a.Options[key]; given {
			n, err := number.Int(text, 0, 31)
			if err != nil {
				return nil, driver.Argsf("--%s %s: %w", key, text, err)
			}
			one[key] = n
		}
	}
	if plc, given := a.Options["plc"]; given {
		one["plc"] = plc
	}
	if len(one) > 0 {
		return tryAt(to, one)
	}
	if len(to.Drivers) > 0 {
		own := map[string]any{}
		for _, key := range []string{"plc", "rack", "slot", "connection", "local_tsap", "remote_tsap"} {
			if v, given := to.Drivers[0].Cfg[key]; given {
				own[key] = v
			}
		}
		return tryAt(to, own) // they are of one PLC
	}
	for _, slot := range []int64{1, 2, 0, 3} {
		more, err := tryAt(to, map[string]any{"slot": slot})
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

// tryAt is a place, in the keys of a driver's cfg.
func tryAt(to driver.Target, cfg map[string]any) ([]tried, error) {
	cfg["polling"] = "1s" // which is required
	s, err := ParseSettings(cfg, to.Item)
	if err != nil {
		return nil, driver.Argsf("%w", err)
	}
	return []tried{{Rack: s.Rack, Slot: s.Slot, Connection: s.Connection, settings: s}}, nil
}

// probed is the document of a probe.
type probed struct {
	Tried []tried           `json:"tried"`
	Rack  int               `json:"rack"`
	Slot  int               `json:"slot"`
	PDU   int               `json:"pdu,omitempty"` // 0: there is no CPU
	Jobs  int               `json:"parallel_jobs,omitempty"`
	Facts map[string]string `json:"facts,omitempty"`
}

type tried struct {
	Rack       int        `json:"rack"`
	Slot       int        `json:"slot"`
	Connection Connection `json:"connection"`
	Answer     string     `json:"answer"` // "ok", or why there is none

	settings *Settings // that lead there
}

// where says it to people.
func (t *tried) where() string {
	if t.settings.PLC != PLCRack {
		return "the PLC is a " + string(t.settings.PLC)
	}
	return fmt.Sprintf("the CPU is in rack %d, slot %d", t.Rack, t.Slot)
}

// noCPU reports whether err says that there is none at that place, and not that the way
// there is broken.
func noCPU(err error) bool { return errors.Is(err, errHungUp) || errors.Is(err, errRefusedTSAP) }

const noCPUFound = "no CPU answers where it was looked for: look for rack and slot in the hardware configuration (--rack, --slot); a LOGO! or S7-200 has none (--plc)"

// probe tries where CPUs are as a rule, until one answers.
func probe(ctx context.Context, to driver.Target, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	places, err := placesToTry(to, a)
	if err != nil {
		return r, err
	}
	out := probed{Tried: []tried{}}
	r.Failure = noCPUFound
	for i := range places {
		one := &places[i]
		one.Answer = "ok"
		began := time.Now()
		ses, refused := probePlace(ctx, to, one)
		if refused != nil {
			if !noCPU(refused) {
				return r, refused
			}
			one.Answer = refused.Error()
		}
		out.Tried = append(out.Tried, *one)
		if err := emit(driver.Event{Item: one.item()}); err != nil {
			return r, err
		}
		if refused != nil {
			continue
		}
		r.Failure = ""
		r.Steps = []driver.Step{{Name: "answer", Took: time.Since(began), Text: one.where()}}
		out.Rack, out.Slot, out.PDU, out.Jobs = one.Rack, one.Slot, ses.pdu, ses.jobs
		r.Facts, err = ses.facts()
		ses.close(err)
		if err != nil {
			return r, fmt.Errorf("ask the CPU what it is: %w", err)
		}
		r.Hints = []string{one.hint()}
		break
	}
	return r, out.into(&r)
}

// item is a place in the table for people.
func (t *tried) item() *driver.Item {
	return &driver.Item{Cells: []string{fmt.Sprint(t.Rack), fmt.Sprint(t.Slot), string(t.Connection), t.Answer}}
}

// hint is the cfg that leads there.
func (t *tried) hint() string {
	if t.settings.PLC != PLCRack {
		return fmt.Sprintf("cfg: {plc: %s, polling: 1s}", t.settings.PLC)
	}
	return fmt.Sprintf("cfg: {rack: %d, slot: %d, polling: 1s}", t.Rack, t.Slot)
}

// into makes the report's document.
func (p *probed) into(r *driver.Report) (err error) {
	if len(r.Facts) > 0 {
		p.Facts = map[string]string{}
	}
	for _, f := range r.Facts {
		p.Facts[f.Name] = f.Value
	}
	r.Document, err = driver.Document(p)
	return err
}

// probePlace connects to a place. A PLC that has no CPU there is no failure of the endpoint.
func probePlace(ctx context.Context, to driver.Target, t *tried) (*session, error) {
	wait, cancel := context.WithTimeout(ctx, t.settings.Timeout+dialGrace)
	defer cancel()
	lease, err := to.Endpoint.Acquire(wait)
	if err != nil {
		if to.Shared && wait.Err() != nil {
			err = fmt.Errorf("drivers use all connections (opts.max_conns of the endpoint allows more): %w", err)
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := newSession(ctx, lease, t.settings, nil)
	if err := c.agree(t.settings); err != nil {
		lease.Release(endpoint.ErrStale)
		return nil, err
	}
	return c, nil
}

// Ask implements [driver.Asker]: over the driver's connection, because the PLC may have no
// other. What is asked is asked between polls. Who names a place means a connection to it.
func (d *s7Driver) Ask(ctx context.Context, ability string, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	on := func(do func(*session) error) error {
		return d.jobs.Submit(driver.NewJob(ctx, func(c *session) error {
			err := do(c)
			d.metrics.done(d.id, "diag", err)
			return err
		}), "the PLC")
	}
	for _, o := range placeOptions() {
		if _, given := a.Options[o.Name]; given {
			ability += " --" + o.Name
		}
	}
	switch ability {
	case driver.AbilityBrowse:
		return listBlocks(ctx, on, a, emit)
	case driver.AbilityProbe:
		return d.probe(on, emit)
	}
	return r, fmt.Errorf("driver %s: %s over its connection: %w", d.id, ability, errors.ErrUnsupported)
}

// probe tells of the PLC that the driver is connected to.
func (d *s7Driver) probe(on onSession, emit func(driver.Event) error) (r driver.Report, err error) {
	one := tried{Rack: d.settings.Rack, Slot: d.settings.Slot, Connection: d.settings.Connection, Answer: "ok", settings: d.settings}
	out := probed{Rack: one.Rack, Slot: one.Slot, Tried: []tried{one}}
	began := time.Now()
	err = on(func(c *session) (err error) {
		out.PDU, out.Jobs = c.pdu, c.jobs
		r.Facts, err = c.facts()
		return err
	})
	if err != nil {
		return r, fmt.Errorf("ask the CPU what it is: %w", err)
	}
	r.Steps = []driver.Step{{Name: "answer", Took: time.Since(began), Text: one.where()}}
	if err := emit(driver.Event{Item: one.item()}); err != nil {
		return r, err
	}
	return r, out.into(&r)
}
