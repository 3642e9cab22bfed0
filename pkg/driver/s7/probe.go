package s7

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Transport is what is dialled for an endpoint of scheme s7: TCP, on port 102 if it has
// none.
func Transport(ep config.Endpoint) (config.Endpoint, bool) {
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
needs a free connection of the PLC.`,
		Example: `  edge-ctl probe s7://192.168.10.20`,
		Columns: []driver.Column{{Name: "RACK", Right: true}, {Name: "SLOT", Right: true}, {Name: "CONNECTION"}, {Name: "ANSWER", Keep: true}},
		Run:     probe,
	}
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
}

// probe tries where CPUs are as a rule, until one answers.
func probe(ctx context.Context, to driver.Target, _ driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	out := probed{Tried: []tried{}}
	for _, slot := range []int{1, 2, 0, 3} {
		one := tried{Slot: slot, Connection: ConnectionOP, Answer: "ok"}
		began := time.Now()
		ses, refused := probeSlot(ctx, to, &one)
		if err := refused; err != nil && !errors.Is(err, errHungUp) && !errors.Is(err, errRefusedTSAP) {
			return r, err
		}
		if refused != nil {
			one.Answer = refused.Error()
		}
		out.Tried = append(out.Tried, one)
		cells := []string{fmt.Sprint(one.Rack), fmt.Sprint(one.Slot), string(one.Connection), one.Answer}
		if err := emit(driver.Event{Item: &driver.Item{Cells: cells}}); err != nil {
			return r, err
		}
		if refused != nil {
			continue
		}
		r.Steps = []driver.Step{{Name: "answer", Took: time.Since(began), Text: fmt.Sprintf("the CPU is in rack %d, slot %d", one.Rack, one.Slot)}}
		out.Rack, out.Slot, out.PDU, out.Jobs = one.Rack, one.Slot, ses.pdu, ses.jobs
		facts, err := ses.facts()
		ses.close(nil)
		if err != nil {
			return r, fmt.Errorf("ask the CPU what it is: %w", err)
		}
		r.Facts, out.Facts = facts, map[string]string{}
		for _, f := range facts {
			out.Facts[f.Name] = f.Value
		}
		r.Hints = []string{fmt.Sprintf("cfg: {rack: %d, slot: %d, polling: 1s}", one.Rack, one.Slot)}
		break
	}
	if out.PDU == 0 {
		r.Failure = "no CPU answers at rack 0, slots 0 to 3: look for rack and slot in the hardware configuration; a LOGO! or S7-200 needs cfg.remote_tsap"
	}
	r.Document, err = driver.Document(out)
	return r, err
}

// probeSlot connects to a slot. A PLC that has no CPU there is no failure of the endpoint.
func probeSlot(ctx context.Context, to driver.Target, t *tried) (*session, error) {
	s, err := ParseSettings(map[string]any{"polling": "1s", "rack": t.Rack, "slot": t.Slot, "connection": string(t.Connection)}, to.Item)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, s.Timeout+dialGrace)
	defer cancel()
	lease, err := to.Endpoint.Acquire(wait)
	if err != nil {
		if to.Shared && wait.Err() != nil {
			err = fmt.Errorf("drivers use all connections (edge-ctl drivers diag asks over theirs; opts.max_conns allows more): %w", err)
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := newSession(ctx, lease, s, nil)
	if err := c.agree(s); err != nil {
		lease.Release(endpoint.ErrStale)
		return nil, err
	}
	return c, nil
}
