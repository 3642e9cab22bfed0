package endpoint

import "testing"

// TestOptionsOf: whoever asks what an item's options mean gets what its connections
// have, however they are written; what is refused stays at its default.
func TestOptionsOf(t *testing.T) {
	for _, scheme := range []string{"tcp", "serial", "rtu+tcp", "tls+tcp", "udp"} {
		host, port := "plc", uint16(502)
		if scheme == "serial" {
			host, port = "/dev/ttyUSB0", 0
		}
		for _, opts := range []map[string]string{
			nil, {"timeout": ".5s"}, {"timeout": "0.5s"}, {"timeout": "1m30s"}, {"halfduplex": "1", "baud": "1.92e4"},
			{"halfduplex": "1", "baud": "0x2580"}, {"halfduplex": "1", "turnaround": "0"}, {"halfduplex": "1", "turnaround": ".02s"}, {"rate": "9pps"},
		} {
			u, err := FromTable(scheme, host, port, opts)
			if err != nil {
				t.Fatalf("%s %v: %v", scheme, opts, err)
			}
			if got := OptionsOf(scheme, opts); got != u.Options() {
				t.Errorf("%s %v: %+v, the connections have %+v", scheme, opts, got, u.Options())
			}
		}
		for _, opts := range []map[string]string{
			{"timeout": "0"}, {"timeout": "05s"}, {"timeout": "5"}, {"timeout": "1d"}, {"max_conns": "two"}, {"rate": "fast"}, {"parity": "even"}, {"colour": "red"},
		} {
			if _, err := FromTable(scheme, host, port, opts); err == nil {
				t.Errorf("%s %v: not refused", scheme, opts)
			}
			if got := OptionsOf(scheme, opts); got != OptionsOf(scheme, nil) {
				t.Errorf("%s %v: %+v, expected the defaults", scheme, opts, got)
			}
		}
	}
	if got := OptionsOf("nonsense", map[string]string{"timeout": "3s"}); got.Timeout.String() != "3s" || got.MaxConns != 1 {
		t.Errorf("a scheme that is none: %+v", got)
	}
}
