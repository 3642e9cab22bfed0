// Package mqttreason says in words what the reason codes of MQTT mean (MQTT 5.0, 2.4),
// for the connector, which sends, and for the consumer, which verifies.
package mqttreason

// Text explains a reason code to the person who has to act on it.
func Text(code byte) string {
	switch code {
	case 0x00, 0x04:
		return "normal disconnection; its log may say why"
	case 0x80:
		return "unspecified error; its log may say more"
	case 0x81:
		return "malformed packet"
	case 0x82:
		return "protocol error"
	case 0x83:
		return "implementation specific error; its log may say more"
	case 0x84:
		return "it does not speak MQTT 5; set version: 3.1.1, or auto"
	case 0x85:
		return "client id not valid; set client_id"
	case 0x86:
		return "bad user name or password; check username and password"
	case 0x87:
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
	case 0x8E:
		return "another client has connected with the same client id; look for a second gateway with this client_id or gateway_id, each needs its own"
	case 0x90:
		return "topic name invalid; check topic: some brokers take no leading /, no more than 256 bytes, or few levels"
	case 0x91:
		return "packet identifier in use"
	case 0x92:
		return "packet identifier not found"
	case 0x93:
		return "receive maximum exceeded"
	case 0x94:
		return "topic alias invalid"
	case 0x95:
		return "packet too large; lower max_bytes or raise the broker's limit"
	case 0x96:
		return "message rate too high"
	case 0x97:
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
		return "use another server"
	case 0x9E:
		return "shared subscriptions not supported; set commands.topic without $share"
	case 0x9F:
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
