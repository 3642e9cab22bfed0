package mqtt

import "testing"

// TestBrokerLeadsNobodyIntoTheOpen: a broker that was reached by TLS can't send us, with
// our password, to a server without.
func TestBrokerLeadsNobodyIntoTheOpen(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"mqtts://a:8883", "mqtt://b:1883", false},
		{"mqtts://a:8883", "ws://b:80/mqtt", false},
		{"wss://a:443/mqtt", "mqtt://b:1883", false},
		{"mqtts://a:8883", "mqtts://b:8883", true},
		{"mqtts://a:8883", "b:8884", true},
		{"mqtts://a:8883", "b", true},
		{"mqtt://a:1883", "mqtt://b:1883", true},
	} {
		s, err := parseEndpoint(c.from)
		if err != nil {
			t.Fatal(err)
		}
		next, err := s.instead(&refusal{code: codeElsewhere, instead: c.to})
		if (err == nil) != c.allowed || err == nil && s.encrypted() != next.encrypted() {
			t.Errorf("%s to %s: %v, %v", c.from, c.to, next, err)
		}
	}
}
