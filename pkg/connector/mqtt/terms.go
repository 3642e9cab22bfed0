package mqtt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
)

// offer is what a CONNECT asks of a server beyond the necessary.
type offer struct {
	will willMode
	old  bool // in MQTT 3.1.1
}

// willMode is how much of the last will a CONNECT holds.
type willMode byte

const (
	willWhole   willMode = iota // as status is configured
	willFleeing                 // not retained
	willNone
)

// terms is what a server has shown that it takes, so that nothing that it has
// refused is asked of it again. Some brokers refuse a retained last will with
// 0x9A, others with any other code or by closing the connection, and all of these
// can have other causes. So what was refused without a clear reason is tried in
// the next smaller way, after a second refusal; when that is taken, the server is
// held to it. So is a server that speaks MQTT 3.1.1 only, and does not say so.
type terms struct {
	offers []offer   // from the whole to the least
	at     int       // the offer in use
	sure   bool      // at was found out, not guessed
	since  time.Time // when
	vain   int       // refusals of it without a clear reason, in a row
	taken  int       // how often an offer was taken that is less than one refused
	reason error     // why at is not 0
	qos0   bool      // it takes no last will with QoS 1
	cert   bool      // it has refused our certificate, and taken no CONNECT since

	takes2  bool // it has taken a message with QoS 2
	lost2   int  // connections that it ended at messages with QoS 2
	lowered lowered
}

// patienceForWhole is how often the whole offer is refused before it is doubted,
// and doubted again after the least was refused as well.
const (
	patienceForWhole = 2
	patienceAgain    = 8
)

// wholeAgain is how long a connection lasts that was made without a part of the last
// will on a guess, before the whole is asked for once more: the broker may have been
// about to start. What is refused then is held to be the will.
const wholeAgain = time.Minute

// newTerms returns the terms of a server that nothing is known of.
func newTerms(cfg *Config) *terms {
	wills := []willMode{willWhole, willFleeing, willNone}
	switch {
	case !cfg.Status.Enable:
		wills = wills[2:]
	case !cfg.Status.Retain:
		wills = []willMode{willWhole, willNone}
	}
	t := &terms{}
	for i, will := range wills {
		if cfg.Version != version311 {
			t.offers = append(t.offers, offer{will: will})
		}
		if cfg.Version == version311 || cfg.Version == versionAuto && i == 0 {
			t.offers = append(t.offers, offer{will: will, old: true})
		}
	}
	return t
}

// onlyOld goes over to MQTT 3.1.1 for good, if that is allowed.
func (t *terms) onlyOld() {
	if !slices.ContainsFunc(t.offers, func(o offer) bool { return o.old }) {
		return
	}
	for i := range t.offers {
		t.offers[i].old = true
	}
	t.offers = slices.Compact(t.offers)
	t.at, t.vain, t.sure = 0, 0, false
}

// sureFor is how long what was found out is not asked again: a broker may be mended.
const sureFor = time.Hour

// renew has the next connection ask for the whole, if it is long ago that it was refused.
func (t *terms) renew(now time.Time) {
	if t.sure && now.Sub(t.since) > sureFor {
		t.at, t.sure, t.vain, t.taken, t.reason = 0, false, 0, 0, nil
	}
}

// next returns what to offer now.
func (t *terms) next() offer { return t.offers[t.at] }

// refused takes notice of a CONNECT that was not taken.
func (t *terms) refused(err error) {
	var r *refusal
	said := errors.As(err, &r)
	switch {
	case said && r.code == codeNoQoS && !t.qos0:
		t.qos0 = true
	case said && r.code == codeVersion && !t.next().old:
		t.onlyOld()
	case said && r.code == codeNoRetain && t.lesser() > 0:
		t.at, t.sure, t.since, t.vain, t.reason = t.lesser(), true, time.Now(), 0, err
	case certRefused(err):
		t.cert = true
	case errors.Is(err, errUnanswered) && t.cert: // the same: the alert was lost with the connection
	case errors.Is(err, errUnanswered) || said && r.unclear():
		t.doubt(err)
	}
}

// certRefused reports whether a server has refused our certificate, or the lack of one,
// which it says in TLS, and in TLS 1.3 behind its part of the handshake.
func certRefused(err error) bool {
	switch clienttls.CauseOf(err) {
	case clienttls.CertWanted, clienttls.CertExpired, clienttls.CertRefused, clienttls.CertUnknown, clienttls.CertRevoked:
		return true
	}
	return false
}

// lesser returns the place of the next offer with less of a last will, 0 for none.
func (t *terms) lesser() int {
	now := t.next()
	return slices.IndexFunc(t.offers, func(o offer) bool { return o.old == now.old && o.will > now.will })
}

// doubt counts a refusal without a clear reason, and goes on to the next offer or,
// when that was the last, back to the first.
func (t *terms) doubt(err error) {
	t.vain++
	if t.sure || len(t.offers) == 1 || t.at == 0 && t.vain < patienceForWhole && t.taken == 0 {
		return
	}
	if t.at+1 < len(t.offers) {
		if t.at == 0 {
			t.reason = err
		}
		t.at, t.vain = t.at+1, 0
		return
	}
	t.at, t.vain, t.taken, t.reason = 0, patienceForWhole-patienceAgain, 0, nil // it is not the will
}

// accepted takes notice of a CONNACK, and returns what the server does without;
// nil: nothing.
func (t *terms) accepted(retain bool) error {
	t.vain, t.cert = 0, false
	if t.at == 0 {
		t.taken, t.reason = 0, nil
		return nil
	}
	t.taken++
	if now := t.next(); now.will == t.offers[0].will { // it is the version
		if t.taken > 1 {
			t.onlyOld()
		} else {
			t.at = 0
		}
		return nil
	}
	told := fmt.Errorf("%s: %w", t.missing(), t.reason)
	if !t.sure {
		t.since = time.Now()
	}
	if t.sure = t.sure || !retain || t.taken > 1; !t.sure {
		t.at = 0 // the next connection asks once more
	}
	return told
}

// missing says what is left out of CONNECT, and how to have it so for good.
func (t *terms) missing() string {
	if t.next().will == willNone {
		return "the last will is left out, so nobody is told when the gateway is gone; check the user's rights for status.topic, or set status.enable: false; " +
			"a CONNECT with it was refused"
	}
	return "status is sent without retain, so who subscribes later does not see it; set status.retain: false; a CONNECT with a retained last will was refused"
}

// unclear reports whether the last will may be what was refused.
func (r *refusal) unclear() bool {
	switch r.code {
	case 0x80, 0x81, 0x82, 0x83, codeNotAuthorized, 0x90, codeTooLarge, 0x99, codeNoQoS:
		return true
	}
	return false
}

// manners is how long a broker that turns us away is left alone at least.
type manners struct {
	busy  int // times in a row that it said that it is busy, or that we come too often
	alone int // times in a row that it closed the connection without an answer to CONNECT
}

const (
	// connectGap is the least time between two CONNECTs that follow each other
	// for a reason of ours: brokers allow one in a second.
	connectGap = 1100 * time.Millisecond
	// busyGap is the first pause after a broker has said that it is too much.
	busyGap = 2 * time.Second
	// maxManners bounds the pauses, unless backoff.max is longer.
	maxManners = time.Minute
	// politeFor is how long a connection must last to begin anew with all this.
	politeFor = 10 * time.Second
)

// note takes notice of how an attempt or a connection ended, and returns how long
// to wait at least.
func (m *manners) note(up bool, err error, lasted time.Duration) time.Duration {
	if up && lasted >= politeFor {
		*m = manners{}
	}
	var r *refusal
	switch {
	case errors.As(err, &r) && r.busy():
		m.busy++
		return pause(busyGap, m.busy-1)
	case errors.Is(err, errUnanswered):
		m.alone++
		if m.alone == 1 {
			return 0 // it may have been about to stop
		}
		return pause(connectGap, min(m.alone-2, 3))
	case !up && errors.As(err, &r):
		return connectGap
	case up:
		m.alone = 0
	}
	return 0
}

// busy reports whether a broker asks to be left alone for a time.
func (r *refusal) busy() bool {
	switch r.code {
	case 0x88, 0x89, 0x96, codeQuotaExceeded, codeRateExceeded:
		return true
	}
	return false
}

// pause returns base, doubled so often, and up to half as much again, so that a
// fleet does not come in step.
func pause(base time.Duration, doubled int) time.Duration {
	d := maxManners
	if base <= maxManners>>doubled {
		d = base << doubled
	}
	return d + rand.N(d/2+1)
}
