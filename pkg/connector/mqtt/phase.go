package mqtt

import "fmt"

// phase is how far the exchange of a message with the broker has come: what the broker may
// hold of it, and which packet it is to answer on this connection. All changes of it are in
// step. A phase outlives a connection as far as the record says (messageRecord.note): what
// is on the wire is loaded as what has to go again.
type phase byte

const (
	phaseFresh      phase = iota // the broker holds nothing of it
	phaseHeld                    // the broker may hold it, from an attempt before: it goes as a repeat
	phaseUnsure                  // likewise, and it can't go again as it was: the broker is asked first (doubt.go)
	phasePublished               // PUBLISH is on the wire, for the first time
	phaseRepeated                // PUBLISH is on the wire as a repeat, with DUP
	phaseReleased                // the broker holds it, or is told to complete what it holds: PUBREL has to go
	phaseCompleting              // that PUBREL is on the wire
	phaseEnded                   // PUBREL has to go only to end the exchange; then it is sent anew (remake.go)
	phaseEnding                  // that PUBREL is on the wire
	phaseAsked                   // PUBREL has to go, as before, to ask whether the broker holds it
	phaseAskedAgain              // that PUBREL is on the wire
	phaseAsking                  // the question is on the wire for the first time
	phases                       // how many there are
)

var phaseNames = [...]string{"fresh", "held", "unsure", "published", "repeated", "released", "completing",
	"ended", "ending", "asked", "asked again", "asking"}

// String returns the phase's name.
func (p phase) String() string { return phaseNames[p] }

// onWire reports whether a packet is on the wire that the broker is to answer.
func (p phase) onWire() bool {
	switch p {
	case phasePublished, phaseRepeated, phaseCompleting, phaseEnding, phaseAskedAgain, phaseAsking:
		return true
	}
	return false
}

// released reports whether PUBREL is what goes out, and no PUBLISH any more.
func (p phase) released() bool { return p >= phaseReleased }

// asks reports whether PUBREL is a question.
func (p phase) asks() bool { return p >= phaseAsked }

// comesBack reports whether the message may be sent anew after PUBCOMP, in its old place.
func (p phase) comesBack() bool { return p >= phaseEnded }

// event is what happens to an exchange.
type event byte

const (
	// What the broker answers.
	evTaken     event = iota // PUBREC: it has the message
	evInUse                  // PUBREC 0x91: the identifier is in use
	evRefused                // PUBREC with another code of 0x80 or more
	evAcked                  // PUBACK
	evNacked                 // PUBACK with a code of 0x80 or more
	evCompleted              // PUBCOMP that proves that it held the message
	evNotFound               // PUBCOMP 0x92
	evUnproved               // any other PUBCOMP: the broker says the same in all cases

	// What the sender does.
	evLost    // the broker has lost the session, or the log begins a new epoch
	evWrite   // PUBLISH goes out
	evRelease // PUBREL goes out once more, on another connection
	evDoubt   // it can't go again as it was
	evAsk     // the broker is asked whether it holds it
	evEnd     // its QoS is more than the broker takes: the exchange ends
	evGone    // there is nothing to send any more: the broker completes what it may hold
	evRenew   // it goes as another message, under another identifier
	evReplace // another message goes in its place, under its identifier
	events    // how many there are
)

var eventNames = [...]string{"taken", "in use", "refused", "acked", "nacked", "completed", "not found", "unproved",
	"lost", "write", "release", "doubt", "ask", "end", "gone", "renew", "replace"}

// String returns the event's name.
func (e event) String() string { return eventNames[e] }

// action is what the sender has to do after an event.
type action byte

const (
	doProtest    action = iota // the phase knows no such event
	doNothing                  // the sender does what the event says
	doRelease                  // store the phase, then send PUBREL
	doRepeat                   // send PUBREL once more
	doFinish                   // it has arrived: forget it
	doRefuse                   // keep it for a later attempt, or park it
	doRenumber                 // give it another identifier
	doAnew                     // send it anew, with the QoS that is configured now
	doRemake                   // make it anew, with the configuration of now
	doRemakeTold               // likewise, and tell that its frames may arrive twice
	doAsk                      // ask the broker whether it holds it
	actions                    // how many there are
)

var actionNames = [...]string{"protest", "nothing", "release", "repeat", "finish", "refuse", "renumber", "anew",
	"remake", "told", "ask"}

// String returns the action's name.
func (a action) String() string { return actionNames[a] }

// step is the whole exchange: from a phase and an event to the next phase and what is to be
// done. An event that does not fit changes nothing.
func (p phase) step(e event) (phase, action) {
	switch {
	case e == evLost:
		return phaseFresh, doNothing
	case p.released():
		return p.fromRelease(e)
	}
	return p.unreleased(e)
}

// unreleased is step while PUBLISH is what goes out.
func (p phase) unreleased(e event) (phase, action) {
	again := p == phaseHeld || p == phaseUnsure || p == phaseRepeated
	switch e {
	case evTaken:
		return phaseCompleting, doRelease
	case evInUse:
		if p == phaseRepeated { // the broker has it from before
			return phaseCompleting, doRelease
		}
		return phaseFresh, doRenumber // an exchange that is not ours
	case evRefused:
		if again { // brokers look at rights before they look for repeats
			return phaseHeld, doRefuse
		}
		return phaseFresh, doRefuse
	case evAcked:
		return p, doFinish
	case evNacked:
		return phaseFresh, doRefuse
	}
	if p.onWire() {
		return p, doProtest
	}
	return p.waiting(e)
}

// waiting is step while nothing of a message is on the wire that was not released.
func (p phase) waiting(e event) (phase, action) {
	switch {
	case e == evRenew:
		return phaseFresh, doNothing
	case e == evGone:
		return phaseCompleting, doRelease
	case e == evWrite && p == phaseFresh:
		return phasePublished, doNothing
	case e == evWrite && p == phaseHeld:
		return phaseRepeated, doNothing
	case e == evDoubt && p == phaseFresh:
		return phaseFresh, doRemake
	case e == evDoubt:
		return phaseUnsure, doAsk
	case e == evEnd && p == phaseFresh:
		return phaseFresh, doAnew
	case e == evEnd:
		return phaseEnding, doRelease
	case e == evAsk && p == phaseUnsure:
		return phaseAsking, doRelease
	case e == evReplace && p == phaseUnsure:
		return phaseHeld, doNothing
	}
	return p, doProtest
}

// fromRelease is step from PUBREL on.
func (p phase) fromRelease(e event) (phase, action) {
	switch e {
	case evTaken, evInUse, evRefused: // PUBREC once more: MQTT 5, 4.3.3
		return p, doRepeat
	case evCompleted, evNotFound, evUnproved:
		return p.completed(e)
	case evRelease:
		switch p {
		case phaseReleased:
			return phaseCompleting, doRepeat
		case phaseEnded:
			return phaseEnding, doRepeat
		case phaseAsked:
			return phaseAskedAgain, doRepeat
		}
	}
	return p, doProtest
}

// completed is step for PUBCOMP. Where PUBREL was no question, "not found" says that
// the exchange was completed before.
func (p phase) completed(e event) (phase, action) {
	switch {
	case !p.comesBack():
		return p, doFinish
	case !p.asks():
		return phaseFresh, doAnew
	case e == evCompleted:
		return p, doFinish
	case p == phaseAsking && e == evNotFound:
		return phaseFresh, doRemake
	}
	return phaseFresh, doRemakeTold // the question of before may have completed it
}

// on takes an event. It fails where the phase knows no such event.
func (m *message) on(e event) (action, error) {
	next, do := m.phase.step(e)
	if do == doProtest {
		return do, fmt.Errorf("message %d is %s and does not expect %q", m.record.ID, m.phase, e)
	}
	m.phase = next
	return do, nil
}

// note puts the phase into the record.
func (m *message) note() {
	r, p := &m.record, m.phase
	r.Released, r.Again, r.Asked = p.released(), p.comesBack(), p.asks()
	r.Doubt = r.Refused != 0 && (p == phaseHeld || p == phaseUnsure)
}

// phase returns the phase that a record is loaded in. Nothing is on the wire then.
func (r *messageRecord) phase() phase {
	switch {
	case r.Asked:
		return phaseAsked
	case r.Again:
		return phaseEnded
	case r.Released:
		return phaseReleased
	case r.Refused != 0 && !r.Doubt:
		return phaseFresh
	}
	return phaseHeld
}
