package apply

import "fmt"

// State is where an apply stands (§6.5 of the specification, completed by
// prepare, verify and rollback).
type State uint8

// The states.
const (
	Idle        State = iota // nothing is being applied
	Preparing                // the new snapshot is compiled; the plant is untouched
	DrainEP                  // changed endpoints finish what is in flight and close
	RestartDrv               // changed drivers are stopped, made anew and started
	ReloadMap                // changed variables replace the points of running drivers
	Verifying                // the drivers concerned must do what they did before
	Committing               // the snapshot becomes the last good one
	RollingBack              // the old snapshot is put back
	Broken                   // the rollback failed; only a restart of the process helps
)

var stateNames = [...]string{"Idle", "Preparing", "DrainEP", "RestartDrv", "ReloadMap", "Verifying", "Committing", "RollingBack", "Broken"}

// String returns the state's name as the specification writes it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Event is what happens to the machine.
type Event uint8

// The events.
const (
	Submitted Event = iota // a new snapshot is to be applied
	Done                   // the effect of the current state succeeded
	Failed                 // it did not
)

// String returns the event's name.
func (e Event) String() string {
	switch e {
	case Submitted:
		return "Submitted"
	case Done:
		return "Done"
	case Failed:
		return "Failed"
	}
	return fmt.Sprintf("Event(%d)", uint8(e))
}

// Effect is what the runner does when a state is entered.
type Effect uint8

// The effects.
const (
	NoEffect Effect = iota
	DoPrepare
	DoDrain
	DoRestart
	DoReload
	DoVerify
	DoCommit
	DoRollback
	DoReject    // report: refused before anything was touched
	DoSucceed   // report: applied
	DoGiveBack  // report: rolled back
	DoBreakDown // report: the rollback itself failed
)

// Needs says which phases a change needs; what it doesn't is skipped.
type Needs struct {
	Drain   bool // endpoints changed or went
	Restart bool // drivers changed, came or went
	Reload  bool // variables of running drivers changed
}

// step is the whole machine: from a state and an event to the next state and the
// effect that entering it has. needs counts from Preparing on. ok is false for an
// event that the state does not know, which then changes nothing.
func step(s State, e Event, needs Needs) (next State, effect Effect, ok bool) {
	switch {
	case s == Idle && e == Submitted:
		return Preparing, DoPrepare, true
	case s == Preparing && e == Failed:
		return Idle, DoReject, true
	case s == Committing && e == Done:
		return Idle, DoSucceed, true
	case s == RollingBack && e == Done:
		return Idle, DoGiveBack, true
	case s == RollingBack && e == Failed:
		return Broken, DoBreakDown, true
	case e == Failed && s >= DrainEP && s <= Committing:
		return RollingBack, DoRollback, true
	case e == Done && s >= Preparing && s <= Verifying:
		next, effect := forward(s, needs)
		return next, effect, true
	}
	return s, NoEffect, false
}

// forward returns the next phase that is needed after s.
func forward(s State, needs Needs) (State, Effect) {
	switch {
	case s < DrainEP && needs.Drain:
		return DrainEP, DoDrain
	case s < RestartDrv && needs.Restart:
		return RestartDrv, DoRestart
	case s < ReloadMap && needs.Reload:
		return ReloadMap, DoReload
	case s < Verifying:
		return Verifying, DoVerify
	}
	return Committing, DoCommit
}
