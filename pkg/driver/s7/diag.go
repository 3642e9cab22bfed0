package s7

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// shownEvents is how many entries of the diagnostics buffer are told.
const shownEvents = 10

// Diagnose implements driver.Diagnoser: what the PLC tells of itself.
func (d *s7Driver) Diagnose(ctx context.Context) ([]driver.Fact, error) {
	var facts []driver.Fact
	err := d.jobs.Submit(driver.NewJob(ctx, func(c *session) error {
		var err error
		facts, err = c.facts()
		d.metrics.done(d.id, "diag", err)
		return err
	}), "the PLC")
	if err != nil {
		return nil, fmt.Errorf("driver %s: diagnose: %w", d.id, err)
	}
	return facts, nil
}

// facts reads the lists that there are. What the PLC does not tell is said to be so.
func (c *session) facts() ([]driver.Fact, error) {
	facts := []driver.Fact{{Name: "connection", Value: fmt.Sprintf("messages of %d bytes, %d at the same time", c.pdu, c.jobs)}}
	for _, q := range []struct {
		id, index uint16
		name      string
		tell      func(list) []driver.Fact
	}{
		{szlModule, 0, "module", moduleFacts},
		{szlNames, 0, "names", nameFacts},
		{szlState, 0, "CPU state", func(l list) []driver.Fact { return []driver.Fact{{Name: "CPU state", Value: stateOf(l)}} }},
		{szlProtection, 4, "protection level", protectionFacts},
		{szlMemory, 1, "communication", communicationFacts},
		{szlBuffer, shownEvents, "diagnostics buffer", bufferFacts},
	} {
		l, err := c.readList(q.id, q.index)
		if refused, ok := errors.AsType[*Refusal](err); ok {
			facts = append(facts, driver.Fact{Name: q.name, Value: "the PLC does not tell (" + refused.number() + ")"})
			continue
		}
		if err != nil {
			return nil, err
		}
		facts = append(facts, q.tell(l)...)
	}
	return facts, nil
}

// text returns a name in a record, without what fills it up.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}

func moduleFacts(l list) (facts []driver.Fact) {
	l.records(func(r []byte) {
		if len(r) < 28 {
			return
		}
		switch version := r[24:28]; binary.BigEndian.Uint16(r) {
		case 1:
			facts = append(facts, driver.Fact{Name: "order number", Value: text(r[2:22])})
		case 7:
			facts = append(facts, driver.Fact{Name: "firmware", Value: fmt.Sprintf("V%d.%d.%d", version[1], version[2], version[3])})
		}
	})
	return facts
}

func nameFacts(l list) (facts []driver.Fact) {
	names := map[uint16]string{1: "PLC name", 2: "module name", 3: "plant", 5: "serial number", 7: "module type", 8: "memory card"}
	l.records(func(r []byte) {
		if len(r) < 26 {
			return
		}
		if name, value := names[binary.BigEndian.Uint16(r)], text(r[2:]); name != "" && value != "" {
			facts = append(facts, driver.Fact{Name: name, Value: value})
		}
	})
	return facts
}

// stateOf names the operating state of the CPU.
func stateOf(l list) (state string) {
	state = "unknown"
	l.records(func(r []byte) {
		if len(r) < 4 {
			return
		}
		switch r[3] & 0x0F {
		case 3, 4:
			state = "STOP"
		case 5, 6, 7:
			state = "STARTUP"
		case 8, 9:
			state = "RUN"
		case 10:
			state = "HOLD"
		case 13:
			state = "DEFECT"
		}
	})
	return state
}

func protectionFacts(l list) (facts []driver.Fact) {
	l.records(func(r []byte) {
		if len(r) < 12 {
			return
		}
		word := func(i int) uint16 { return binary.BigEndian.Uint16(r[2*i:]) }
		level := map[uint16]string{0: "none", 1: "1 (full access)", 2: "2 (read only)", 3: "3 (no access)"}[word(3)]
		if level == "" {
			level = fmt.Sprint(word(3))
		}
		facts = append(facts, driver.Fact{Name: "protection level", Value: level})
		if mode := map[uint16]string{1: "RUN", 2: "RUN-P", 3: "STOP", 4: "MRES"}[word(4)]; mode != "" {
			facts = append(facts, driver.Fact{Name: "mode switch", Value: mode})
		}
	})
	return facts
}

func communicationFacts(l list) (facts []driver.Fact) {
	l.records(func(r []byte) {
		if len(r) < 6 {
			return
		}
		facts = append(facts, driver.Fact{Name: "communication", Value: fmt.Sprintf("messages of %d bytes at most, %d connections", binary.BigEndian.Uint16(r[2:]), binary.BigEndian.Uint16(r[4:]))})
	})
	return facts
}

// bufferFacts tells the newest entries of the diagnostics buffer.
func bufferFacts(l list) (facts []driver.Fact) {
	n := 0
	l.records(func(r []byte) {
		if entry, ok := event(r); ok && n < shownEvents {
			n++
			facts = append(facts, driver.Fact{Name: fmt.Sprintf("diagnostics buffer %d", n), Value: entry})
		}
	})
	return facts
}
