package mqtt

import (
	"fmt"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
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
	instead string // the server that it names instead of itself
	own     bool   // it was not asked: its CONNACK says so
}

// Error says what the code means and what can be done.
func (r *refusal) Error() string {
	says := "said"
	if r.own {
		says = "would say"
	}
	s := fmt.Sprintf("the broker %s 0x%02X: %s", says, r.code, reasonText(r.code))
	if r.instead != "" {
		s += ": " + r.instead + "; set endpoint to it, or follow_redirect: true"
	}
	if r.text != "" {
		s += " (" + r.text + ")"
	}
	return s
}

// reasonText explains a reason code to the person who has to act on it.
func reasonText(code byte) string {
	switch code {
	case 0x00, codeDisconnectWill:
		return "normal disconnection; its log may say why"
	case 0x80:
		return "unspecified error; its log may say more"
	case 0x81:
		return "malformed packet"
	case 0x82:
		return "protocol error"
	case 0x83:
		return "implementation specific error; its log may say more"
	case codeVersion:
		return "it does not speak MQTT 5; set version: 3.1.1, or auto"
	case 0x85:
		return "client id not valid; set client_id"
	case 0x86:
		return "bad user name or password; check username and password"
	case codeNotAuthorized:
		return "not authorized; check the user's rights (ACL) at the broker, and username and password"
	case 0x88:
		return "server unavailable; it is tried again, less often"
	case 0x89:
		return "server busy; it is tried again, less often"
	case 0x8A:
		return "banned; ask the broker's administrator"
	case 0x8B:
		return "server shutting down"
	case 0x8C:
		return "bad authentication method"
	case 0x8D:
		return "keep alive timeout"
	case codeTakenOver:
		return "another client has connected with the same client id; look for a second gateway with this client_id or gateway_id, each needs its own"
	case 0x90:
		return "topic name invalid; check topic: some brokers take no leading /, no more than 256 bytes, or few levels"
	case codeInUse:
		return "packet identifier in use"
	case codeNotFound:
		return "packet identifier not found"
	case 0x93:
		return "receive maximum exceeded"
	case 0x94:
		return "topic alias invalid"
	case codeTooLarge:
		return "packet too large; lower max_bytes or raise the broker's limit"
	case 0x96:
		return "message rate too high"
	case codeQuotaExceeded:
		return "quota exceeded; it is tried again"
	case 0x98:
		return "closed by its administrator"
	case 0x99:
		return "payload format invalid"
	case codeNoRetain:
		return "retain not supported"
	case codeNoQoS:
		return "QoS not supported; lower qos"
	case codeElsewhere, codeMoved:
		return "use another server"
	case 0x9E:
		return "shared subscriptions not supported; set commands.topic without $share"
	case codeRateExceeded:
		return "connection rate exceeded; it is tried again, less often"
	case 0xA0:
		return "maximum connect time"
	case 0xA1:
		return "subscription identifiers not supported"
	case 0xA2:
		return "wildcard subscriptions not supported; set commands.topic without + and #"
	}
	return "an unknown reason"
}
