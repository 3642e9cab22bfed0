package mqtt

import "fmt"

// Reason codes that the connector acts on (MQTT 5.0, 2.4).
const (
	codeNotAuthorized  = 0x87
	codeInUse          = 0x91 // packet identifier in use
	codeTakenOver      = 0x8E
	codeNotFound       = 0x92 // packet identifier not found
	codeTooLarge       = 0x95
	codeQuotaExceeded  = 0x97
	codeDisconnectWill = 0x04
)

// refusal is a reason code with which a broker turned something down.
type refusal struct {
	code byte
	text string // the broker's own words, if it gave any
}

// Error says what the code means and what can be done.
func (r *refusal) Error() string {
	s := fmt.Sprintf("the broker said 0x%02X: %s", r.code, reasonText(r.code))
	if r.text != "" {
		s += " (" + r.text + ")"
	}
	return s
}

// reasonText explains a reason code to the person who has to act on it.
func reasonText(code byte) string {
	switch code {
	case 0x80:
		return "unspecified error; its log may say more"
	case 0x81:
		return "malformed packet"
	case 0x82:
		return "protocol error"
	case 0x83:
		return "implementation specific error; its log may say more"
	case 0x84:
		return "it does not speak MQTT 5"
	case 0x85:
		return "client id not valid; set client_id"
	case 0x86:
		return "bad user name or password; check username and password"
	case codeNotAuthorized:
		return "not authorized; check the user's rights (ACL) at the broker"
	case 0x88:
		return "server unavailable"
	case 0x89:
		return "server busy"
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
		return "topic name invalid; check topic"
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
	case 0x9A:
		return "retain not supported"
	case 0x9B:
		return "QoS not supported; lower qos"
	case 0x9C, 0x9D:
		return "use another server; change endpoint"
	case 0x9E:
		return "shared subscriptions not supported"
	case 0x9F:
		return "connection rate exceeded"
	case 0xA0:
		return "maximum connect time"
	case 0xA2:
		return "wildcard subscriptions not supported"
	}
	return "an unknown reason"
}
