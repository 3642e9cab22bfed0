package mqtt

import (
	"strings"
	"testing"
)

// A broker that gives a reason of 64 KiB with everything that it turns down fills no log.
func TestWordsOfABroker(t *testing.T) {
	long := strings.Repeat("x", 65535)
	if text := (&refusal{code: codeMoved, text: long, instead: long}).Error(); len(text) > 2*maxSaid+512 || !strings.Contains(text, "xxx") {
		t.Errorf("%d bytes are told: %.100s", len(text), text)
	}
	// The gateway's own advice is told whole.
	if text := (&refusal{code: codeMoved, why: long[:1000] + " check the topic"}).Error(); !strings.Contains(text, "check the topic") {
		t.Errorf("cut: %s", text)
	}
}
