// Package rollout decides how a change reaches the gateways of a fleet in waves, and when
// it turns back.
//
// Nobody drives a rollout. What a gateway runs is a function of one record, which an
// operator wrote, and of how many final votes there are: [Record.Decide] and
// [Decision.Side]. Every gateway reckons it for itself, from one consistent read.
//
//	on[w]      = counted members of wave w; on[1] ≥ 1
//	max_bad[w] = min(limit[w], max_bad[w-1] + max(on[w] - 1, 0)), max_bad[0] = 0
//	need[w]    = on[1] + … + on[w] − max_bad[w]
//	reached(w) = w = 1, or opened ≥ w, or not manual and ok ≥ need[w-1]
//	done       = state is done, or state isn't halted and ok ≥ need[last]
//	halted     = state is halted, or not done and (bad > max_bad[highest reached], or
//	             the deadline is over)
//
// Then, with a person who doesn't act:
//
//   - Done and halted exclude each other, and neither ends: votes are final, so counts
//     only grow.
//   - No gate is vacuous: each wave with members needs an ok of its own.
//   - A pause changes no threshold, so it neither halts nor finishes a rollout.
//   - A gateway that voted bad is never sent forward again.
//
// The package has no state and does no I/O. A model in its tests walks through all
// histories of small fleets, with operators, cuts, crashes, new hardware, late votes,
// deadlines and stores that are put back from a backup.
package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Wave is one step of a rollout.
type Wave struct {
	Members int `json:"members"`
	// Counted of them were online when the rollout began: only they vote.
	Counted int `json:"counted"`
	// MaxBad is how many bad votes are borne while this is the highest wave reached.
	MaxBad int `json:"max_bad"`
	// Need is how many ok open the next wave; in the last one, how many end the rollout.
	Need int `json:"need"`
}

// NewWaves reckons the thresholds of waves. members and counted are those of each wave;
// limit says how many bad votes are borne among so many members of this and all earlier
// waves.
func NewWaves(members, counted []int, limit func(members int) int) ([]Wave, error) {
	if len(members) == 0 || len(members) != len(counted) {
		return nil, errors.New("a rollout has at least one wave")
	}
	if counted[0] < 1 {
		return nil, errors.New("the first wave has nobody online: nothing would open the next one; name another first wave")
	}
	waves := make([]Wave, len(members))
	all, on, before := 0, 0, 0
	for i := range waves {
		if counted[i] < 0 || counted[i] > members[i] {
			return nil, fmt.Errorf("wave %d: %d of %d members are counted", i+1, counted[i], members[i])
		}
		all, on = all+members[i], on+counted[i]
		before = max(min(limit(all), before+max(counted[i]-1, 0)), 0)
		waves[i] = Wave{members[i], counted[i], before, on - before}
	}
	return waves, nil
}

// Control is what an operator wants of a rollout.
type Control string

// The controls.
const (
	Running Control = "running"
	Paused  Control = "paused" // nobody crosses any more
	Halted  Control = "halted" // everybody returns
	Done    Control = "done"   // everybody crosses, whatever the votes are
)

// Record is what stands in the store of a rollout. Operators alone change it.
type Record struct {
	ID      string  `json:"id"` // random: numbers of releases recur after a restore
	Waves   []Wave  `json:"waves"`
	Manual  bool    `json:"manual,omitempty"` // votes open no wave
	Control Control `json:"control"`
	Opened  int     `json:"opened,omitempty"` // waves up to this one are open, whatever the votes are
	Acts    []Act   `json:"acts,omitempty"`   // what operators did, in order
}

// Act is what an operator did to a rollout. A record without its acts could be the same
// after two of them; a vote that was decided before would pass for one decided after.
type Act struct {
	ID     string    `json:"id"` // random
	What   string    `json:"what"`
	Author string    `json:"author"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason,omitempty"`
}

// ActedSince reports whether an operator has acted since a gateway knew these acts. A
// record that was put back from a backup has fewer of them, which is no act.
func (r *Record) ActedSince(known []string) bool {
	return slices.ContainsFunc(r.Acts, func(a Act) bool { return !slices.Contains(known, a.ID) })
}

// Tally is what was counted of a rollout, in the same read as its record.
type Tally struct {
	OK, Bad int
	// Expired: there was a deadline, and it is over. No ok is cast then.
	Expired bool
}

// Decision is where a rollout stands.
type Decision struct {
	Done    bool
	Halted  bool
	Reached int // the highest wave whose members may cross, from 1
	record  Record
	tally   Tally
}

// Decide says where the rollout stands.
func (r *Record) Decide(t Tally) Decision {
	d := Decision{Reached: 1, record: *r, tally: t}
	last := len(r.Waves)
	for w := 2; w <= last; w++ {
		if r.reached(w, t) {
			d.Reached = w
		}
	}
	d.Done = r.Control == Done || r.Control != Halted && t.OK >= r.Waves[last-1].Need
	d.Halted = r.Control == Halted || !d.Done && (t.Expired || t.Bad > r.Waves[d.Reached-1].MaxBad)
	return d
}

// reached reports whether the gate of a wave is open.
func (r *Record) reached(w int, t Tally) bool {
	return w <= 1 || r.Opened >= w || !r.Manual && t.OK >= r.Waves[w-2].Need
}

// Side is one of the two documents that a rollout is between.
type Side bool

// The sides.
const (
	From Side = false
	To   Side = true
)

// Self is what a gateway knows of itself in a rollout.
type Self struct {
	Wave    int  // from 1
	OwnBad  bool // it found the change bad, or its vote says so
	Latched bool // it saw a halt, and no operator has acted since: see [Record.ActedSince]
	Crossed bool // it runs the new side, for this rollout
}

// Side says what a gateway is to run.
func (d Decision) Side(g Self) Side {
	switch {
	case g.OwnBad:
		return From
	case d.Done:
		return To
	case d.Halted || g.Latched:
		return From
	case g.Crossed:
		return To
	case d.record.Control == Paused:
		return From
	}
	return Side(d.record.reached(g.Wave, d.tally))
}

// MayCast reports whether a counted gateway with that verdict casts its vote. Its wave must
// be reached: a store that was put back from a backup may have lost the act that opened it,
// and a vote from beyond would open a gate that a halt had shut. seen is the largest number
// of ok that the gateway has read of the rollout. Where the store has fewer now, it was put
// back, and a bad vote might halt what is done.
func (d Decision) MayCast(g Self, ok bool, seen int) bool {
	switch {
	case !d.record.reached(g.Wave, d.tally):
		return false
	case ok:
		return !d.tally.Expired
	}
	return d.tally.OK >= seen
}

// ErrOver means that an operator's act comes too late.
var ErrOver = errors.New("the rollout is over")

// over says why an act comes too late, nil where it doesn't.
func (r *Record) over(t Tally) error {
	switch d := r.Decide(t); {
	case d.Done:
		return fmt.Errorf("%w: it is done", ErrOver)
	case d.Halted:
		return fmt.Errorf("%w: it is halted", ErrOver)
	}
	return nil
}

// Pause returns the record of a rollout in which nobody crosses any more.
func (r Record) Pause(t Tally) (Record, error) {
	err := r.over(t)
	r.Control = Paused
	return r, err
}

// Resume returns the record of a rollout that goes on. A halted one goes on only with
// forgive: the caller then deletes all bad votes with the same transaction, and renews the
// deadline.
func (r Record) Resume(t Tally, forgive bool) (Record, error) {
	d := r.Decide(t)
	switch {
	case d.Done:
		return r, r.over(t)
	case d.Halted && !forgive:
		return r, fmt.Errorf("%w: it is halted; --forgive clears the bad votes and goes on", ErrOver)
	}
	r.Control = Running
	return r, nil
}

// Promote returns the record with one wave more open, or all. Beyond the last one that
// makes it done, so that a member that is gone for good can't keep it open.
func (r Record) Promote(t Tally, all bool) (Record, error) {
	if err := r.over(t); err != nil {
		return r, err
	}
	next := max(r.Decide(t).Reached, r.Opened) + 1
	switch last := len(r.Waves); {
	case next > last:
		r.Control = Done
	case all:
		r.Opened = last
	default:
		r.Opened = next
	}
	return r, nil
}

// Abort returns the record of a rollout from which everybody returns. It works while it is
// paused or halted, too.
func (r Record) Abort(t Tally) (Record, error) {
	if d := r.Decide(t); d.Done {
		return r, r.over(t)
	}
	r.Control = Halted
	return r, nil
}
