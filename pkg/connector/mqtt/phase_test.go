package mqtt

import (
	"fmt"
	"strings"
	"testing"
)

// phaseTable is the whole table of phases (columns) and events (rows): the next phase, "="
// for the same, and what is to be done. A dash stands for an event that does not fit: it
// changes nothing and is an error.
const phaseTable = `
           fresh               held                unsure              published           repeated
taken      completing:release  completing:release  completing:release  completing:release  completing:release
in-use     =:renumber          fresh:renumber      fresh:renumber      fresh:renumber      completing:release
refused    =:refuse            =:refuse            held:refuse         fresh:refuse        held:refuse
acked      =:finish            =:finish            =:finish            =:finish            =:finish
nacked     =:refuse            fresh:refuse        fresh:refuse        fresh:refuse        fresh:refuse
completed  -                   -                   -                   -                   -
not-found  -                   -                   -                   -                   -
unproved   -                   -                   -                   -                   -
lost       =                   fresh               fresh               fresh               fresh
write      published           repeated            -                   -                   -
release    -                   -                   -                   -                   -
doubt      =:remake            unsure:ask          =:ask               -                   -
ask        -                   -                   asking:release      -                   -
end        =:anew              ending:release      ending:release      -                   -
gone       completing:release  completing:release  completing:release  -                   -
renew      =                   fresh               fresh               -                   -
replace    -                   -                   held                -                   -

           released           completing  ended          ending      asked               asked-again  asking
taken      =:repeat           =:repeat    =:repeat       =:repeat    =:repeat            =:repeat     =:repeat
in-use     =:repeat           =:repeat    =:repeat       =:repeat    =:repeat            =:repeat     =:repeat
refused    =:repeat           =:repeat    =:repeat       =:repeat    =:repeat            =:repeat     =:repeat
acked      -                  -           -              -           -                   -            -
nacked     -                  -           -              -           -                   -            -
completed  =:finish           =:finish    fresh:anew     fresh:anew  =:finish            =:finish     =:finish
not-found  =:finish           =:finish    fresh:anew     fresh:anew  fresh:told          fresh:told   fresh:remake
unproved   =:finish           =:finish    fresh:anew     fresh:anew  fresh:told          fresh:told   fresh:told
lost       fresh              fresh       fresh          fresh       fresh               fresh        fresh
write      -                  -           -              -           -                   -            -
release    completing:repeat  -           ending:repeat  -           asked-again:repeat  -            -
doubt      -                  -           -              -           -                   -            -
ask        -                  -           -              -           -                   -            -
end        -                  -           -              -           -                   -            -
gone       -                  -           -              -           -                   -            -
renew      -                  -           -              -           -                   -            -
replace    -                  -           -              -           -                   -            -
`

// parseTable returns the cells of the table by phase and event.
func parseTable(t *testing.T) map[string]map[string]string {
	cells := map[string]map[string]string{}
	for block := range strings.SplitSeq(strings.TrimSpace(phaseTable), "\n\n") {
		lines := strings.Split(block, "\n")
		head := strings.Fields(lines[0])
		for _, p := range head {
			cells[p] = map[string]string{}
		}
		for _, line := range lines[1:] {
			row := strings.Fields(line)
			if len(row) != len(head)+1 {
				t.Fatalf("%d cells for %v: %s", len(row)-1, head, line)
			}
			for i, p := range head {
				cells[p][row[0]] = row[i+1]
			}
		}
	}
	return cells
}

// word makes one word of a name.
func word(name fmt.Stringer) string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(name.String())
}

// TestPhaseTable holds step to the table, in which no phase and no event may miss.
func TestPhaseTable(t *testing.T) {
	if len(eventNames) != int(events) || len(phaseNames) != int(phases) || len(actionNames) != int(actions) {
		t.Fatal("a phase, an event or an action has no name")
	}
	table := parseTable(t)
	if len(table) != int(phases) {
		t.Errorf("the table has %d phases, of %d", len(table), phases)
	}
	used := map[action]bool{}
	for p := range phases {
		if n := len(table[word(p)]); n != int(events) {
			t.Errorf("the table has %d events of phase %s, of %d", n, p, events)
		}
		for e := range events {
			next, do := p.step(e)
			used[do] = true
			got := word(next)
			if next == p {
				got = "="
			}
			switch do {
			case doProtest:
				if got != "=" {
					t.Errorf("%s, %s: an event that does not fit changes the phase to %s", p, e, next)
				}
				got = "-"
			case doNothing:
			default:
				got += ":" + word(do)
			}
			if want := table[word(p)][word(e)]; got != want {
				t.Errorf("%s, %s: %s, want %q", p, e, got, want)
			}
		}
	}
	for do := range actions {
		if !used[do] {
			t.Errorf("nothing leads to the action %s", do)
		}
	}
}

// TestPhaseStored takes every phase through the record, alone and with a refusal: what is
// on the wire comes back as what has to go again.
func TestPhaseStored(t *testing.T) {
	for _, c := range []struct {
		phase          phase
		plain, refused phase // after a restart
	}{
		{phaseFresh, phaseHeld, phaseFresh}, // one that was not refused may have been written
		{phaseHeld, phaseHeld, phaseHeld},
		{phaseUnsure, phaseHeld, phaseHeld},
		{phasePublished, phaseHeld, phaseFresh}, // never with a refusal: that is taken out before it is written
		{phaseRepeated, phaseHeld, phaseFresh},
		{phaseReleased, phaseReleased, phaseReleased},
		{phaseCompleting, phaseReleased, phaseReleased},
		{phaseEnded, phaseEnded, phaseEnded},
		{phaseEnding, phaseEnded, phaseEnded},
		{phaseAsked, phaseAsked, phaseAsked},
		{phaseAskedAgain, phaseAsked, phaseAsked},
		{phaseAsking, phaseAsked, phaseAsked},
	} {
		for code, want := range map[byte]phase{0: c.plain, codeNotAuthorized: c.refused} {
			m := message{phase: c.phase}
			m.record = messageRecord{Refused: code, Released: !c.phase.released(), Doubt: true} // of a phase before
			m.note()
			if got := m.record.phase(); got != want || got.onWire() {
				t.Errorf("%s, refused with %#x: loaded as %s, want %s", c.phase, code, got, want)
			}
		}
	}
}

// TestPhaseReached finds every phase from a new message, and from each a way to the end.
func TestPhaseReached(t *testing.T) {
	reached := map[phase]bool{phaseFresh: true}
	for range phases {
		for p := range reached {
			reached[p.record()] = true // a restart
			for e := range events {
				next, _ := p.step(e)
				reached[next] = true
			}
		}
	}
	ends := map[phase]bool{}
	for range phases {
		for p := range phases {
			for e := range events {
				if next, do := p.step(e); do == doFinish || do != doProtest && ends[next] {
					ends[p] = true
				}
			}
		}
	}
	if len(reached) != int(phases) || len(ends) != int(phases) {
		t.Errorf("reached %v, with a way to the end %v", fmt.Sprint(reached), fmt.Sprint(ends))
	}
}

// record returns the phase that p is loaded as.
func (p phase) record() phase {
	m := message{phase: p}
	m.note()
	return m.record.phase()
}
