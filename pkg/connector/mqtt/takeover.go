package mqtt

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// disputes is what is known of other clients that connect with our client id: a
// broker lets one client have an id, and ends the connection of whoever had it
// before. Two of them would take it from each other for ever, so each waits longer
// every time, until a connection has lasted.
//
// Some brokers (Mosquitto 2.0) end a connection then without giving the reason. It
// looks as if the network was bad, so that only suspicion can be told, and what
// the waiting grows to is less.
type disputes struct {
	taken   int       // times in a row that the broker said so
	last    time.Time // when it did
	dropped int       // times in a row that a connection ended young and without a word
}

const (
	// youngFor is how long a connection must last to be none of those that are
	// dropped again and again.
	youngFor = 10 * time.Second
	// suspectAfter is after how many of them there is something to be told.
	suspectAfter = 4
	// toldFor is how long another client is told of at least.
	toldFor = 15 * time.Second
	// maxDropped bounds how often the back-off is doubled for them.
	maxDropped = 2
)

// note takes notice of the end of a connection (up) or of a vain attempt, and
// returns how often the back-off is to be doubled at least.
// A connection that was ended at a message (explained) says nothing of other clients.
func (d *disputes) note(up bool, err error, lasted, steady time.Duration, explained bool) int {
	var r *refusal
	said := errors.As(err, &r)
	taken := said && r.code == codeTakenOver || errors.Is(err, errNotOurs)
	if up && lasted >= steady {
		d.taken = 0
	}
	switch {
	case taken:
		d.taken++
		d.last, d.dropped = time.Now(), 0
	case !up, explained:
	case said || lasted >= youngFor || !errors.Is(err, errHungUp):
		d.dropped = 0
	default:
		d.dropped++
	}
	return max(d.taken, min(d.dropped-suspectAfter, maxDropped))
}

// warning says what to look for; nil if there is nothing to say any more. lasts is how
// long the present connection has lasted.
func (d *disputes) warning(clientID string, steady, lasts time.Duration) error {
	const look = "look for a second gateway with this client_id or gateway_id, or a copy of this one"
	switch {
	case d.taken > 0 && time.Since(d.last) < max(2*steady, toldFor):
		return fmt.Errorf("another client has connected with the client id %q, %d times in a row, last at %s, and what was in flight was sent anew: %s",
			clientID, d.taken, moment.Format(d.last), look)
	case d.dropped >= suspectAfter && lasts < youngFor:
		return fmt.Errorf("%d connections in a row were ended soon and without a reason: the network is bad, or another client connects with the client id %q: %s",
			d.dropped, clientID, look)
	}
	return nil
}

// takenOver deals with the broker's word that another client has our session.
func (c *Connector) takenOver() error {
	c.stats.takenOver()
	return c.session.disown()
}

// steady is how long a connection must last to be taken for undisputed.
func (c *Connector) steady() time.Duration { return c.config().Backoff.Max.Std() }
