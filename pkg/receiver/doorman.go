package receiver

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/mqttreason"
)

// doorman says why the broker does not let us in, and whether trying again is of use.
type doorman struct {
	cfg     *Config
	tls     bool
	refused chan<- error // has room for one
	in      atomic.Bool  // it let us in once
}

func newDoorman(cfg *Config, broker *url.URL, refused chan<- error) *doorman {
	return &doorman{cfg: cfg, tls: broker.Scheme != "mqtt" && broker.Scheme != "tcp" && broker.Scheme != "ws", refused: refused}
}

func (d *doorman) opened() { d.in.Store(true) }

// connection is told of an attempt to connect that failed.
func (d *doorman) connection(err error) {
	var connack *autopaho.ConnackError
	final := false
	switch cause := clienttls.HandshakeCause(err); {
	case errors.As(err, &connack) && connack.ReasonCode >= 0x80:
		err = reason(connack.ReasonCode, connack.Reason)
		if d.cfg.Username == "" && (connack.ReasonCode == 0x86 || connack.ReasonCode == 0x87) {
			err = fmt.Errorf("%w; no user name was given", err)
		}
		final = slices.Contains([]byte{0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C}, connack.ReasonCode)
	case d.cfg.Settings.Peer == "":
	case d.in.Load(): // it knows us: what ends a connection then is of the moment
	case !d.tls && cause == clienttls.HungUp:
		err = fmt.Errorf("the broker closed the connection without an answer: this port may be for TLS (mqtts://), or it does not speak this version of MQTT (%w)", err)
	case cause == clienttls.HungUp:
		err = d.cfg.Settings.ExplainedHandshake(err)
	case cause == clienttls.Silent:
	case cause != clienttls.Unknown:
		err, final = d.cfg.Settings.Explained(err), true
	}
	d.turnedAway(err, final, "no connection to the broker")
}

// subscription is told of a subscription that failed.
func (d *doorman) subscription(ack *paho.Suback, err error) {
	final := false
	if ack != nil && len(ack.Reasons) > 0 && ack.Reasons[0] >= 0x80 {
		text := ""
		if ack.Properties != nil {
			text = ack.Properties.ReasonString
		}
		err, final = reason(ack.Reasons[0], text), true
	}
	d.turnedAway(fmt.Errorf("not subscribed to %s: %w", d.cfg.Topic, err), final, "no messages come")
}

func reason(code byte, text string) error {
	s := fmt.Sprintf("the broker said 0x%02X: %s", code, mqttreason.Text(code))
	if text != "" {
		s += " (" + text + ")"
	}
	return errors.New(s)
}

func (d *doorman) turnedAway(err error, final bool, what string) {
	if !final || !d.cfg.Refusal || d.in.Load() {
		d.cfg.Log.Warn(what, "error", err)
		return
	}
	select {
	case d.refused <- err:
	default: // it is said already
	}
}
