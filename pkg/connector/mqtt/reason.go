package mqtt

import (
	"fmt"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/mqttreason"
)

// Reason codes that the connector acts on (MQTT 5.0, 2.4).
const (
	codeNotAuthorized  = 0x87
	codeInUse          = 0x91 // packet identifier in use
	codeTakenOver      = 0x8E
	codeNotFound       = 0x92 // packet identifier not found
	codeVersion        = 0x84 // protocol version not supported
	codeTooLarge       = 0x95
	codeQuotaExceeded  = 0x97
	codeNoRetain       = 0x9A
	codeNoQoS          = 0x9B
	codeElsewhere      = 0x9C // use another server
	codeMoved          = 0x9D
	codeRateExceeded   = 0x9F
	codeDisconnectWill = 0x04
)

// refusedConnect returns the refusal in a CONNACK.
func refusedConnect(a *paho.Connack) *refusal {
	return &refusal{code: a.ReasonCode, text: a.Properties.ReasonString, instead: a.Properties.ServerReference}
}

// refusedLater returns the refusal in a DISCONNECT.
func refusedLater(d *packets.Disconnect) *refusal {
	r := &refusal{code: d.ReasonCode}
	if d.Properties != nil {
		r.text, r.instead = d.Properties.ReasonString, d.Properties.ServerReference
	}
	return r
}

// refusal is a reason code with which a broker turned something down.
type refusal struct {
	code    byte
	text    string // the broker's own words, if it gave any
	why     string // the gateway's words, if it knows more
	instead string // the server that it names instead of itself
	own     bool   // it was not asked: its CONNACK says so
}

// maxSaid bounds what is told of a broker's own words, in bytes: they come with every
// connection and every message that it turns down.
const maxSaid = 256

// Error says what the code means and what can be done.
func (r *refusal) Error() string {
	says := "said"
	if r.own {
		says = "would say"
	}
	s := fmt.Sprintf("the broker %s 0x%02X: %s", says, r.code, mqttreason.Text(r.code))
	if r.instead != "" {
		s += ": " + cut(r.instead, maxSaid) + "; set endpoint to it, or follow_redirect: true"
	}
	if r.text != "" {
		s += " (" + cut(r.text, maxSaid) + ")"
	}
	if r.why != "" {
		s += " (" + r.why + ")"
	}
	return s
}
