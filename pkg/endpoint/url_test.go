package endpoint

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func TestURLParse(t *testing.T) {
	tests := []struct {
		in, str, norm string
	}{
		{"tcp://192.168.1.10:502", "", "tcp://192.168.1.10:502"},
		{"tls+tcp://PLC1.plant.Example.:802?timeout=1000ms&ca=/certs/a.pem", "", "tls+tcp://plc1.plant.example:802?ca=/certs/a.pem"},
		{"tls://10.0.0.1:802?timeout=2s", "", "tls+tcp://10.0.0.1:802?timeout=2s"},
		{"tcp+tls://10.0.0.1:802?timeout=2000ms", "", "tls+tcp://10.0.0.1:802?timeout=2s"},
		{"tcp://[FE80::0001%25eth0]:502", "", "tcp://[fe80::1%25eth0]:502"},
		{"tcp://[::ffff:10.0.0.1]:502", "", "tcp://10.0.0.1:502"},
		{"rtu+serial:///dev/ttyUSB0?baud=19200&parity=e", "", "serial:///dev/ttyUSB0?baud=19200&parity=E"},
		{"serial:///dev//serial/by-id/usb-FTDI_FT232R%20USB-if00?baud=9600&halfduplex=yes", "",
			"serial:///dev/serial/by-id/usb-FTDI_FT232R%20USB-if00"},
		{"serial://COM3", "", "serial://com3"},
		{"udp://h:1?rate=64kBps,200pps&burst=4", "", "udp://h:1?burst=4&rate=200pps,64000Bps"},
		{"dtls://line1:0badcafe@h:5684", "dtls://***@h:5684", "dtls+udp://h:5684"},
		{"tcp://u%3Aser:p%40ss%2F%3F@h:1?rate=200", "tcp://***@h:1?rate=200", "tcp://h:1?rate=200pps"},
		{"tcp://:${file:plc}@h:1", "tcp://***@h:1", "tcp://h:1"},
		{"rtu+tcp://gw:4001?halfduplex=1&baud=9600&turnaround=5ms", "", "tcp://gw:4001?baud=9600&halfduplex=1&turnaround=5ms"},
		{"tcp://h:1?backup=B:2&failback=5s", "", "tcp://h:1?backup=b:2&failback=5s"},
		{"quic://h:1", "", "quic+udp://h:1"},
		{"tsn+udp://h:1", "", "tsn+udp://h:1"},
		{"prp+tls+tcp://h:1", "", "tls+prp+tcp://h:1"},
		{"can://can0", "", "can://can0"},
		{"bluetooth://00:11:22:AA:BB:CC", "", "bluetooth://00:11:22:aa:bb:cc"},
	}
	for _, tt := range tests {
		u, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if tt.str == "" {
			tt.str = tt.in
		}
		if got := u.String(); got != tt.str {
			t.Errorf("Parse(%q).String() = %q, want %q", tt.in, got, tt.str)
		}
		checkRoundTrips(t, u)
		n := u.Normalize()
		if got := n.String(); got != tt.norm {
			t.Errorf("Parse(%q).Normalize() = %q, want %q", tt.in, got, tt.norm)
		}
	}
}

// checkRoundTrips holds what must be true of every URL: the full text parses to
// the same URL, the table spells the same thing, and normalising is stable.
func checkRoundTrips(t *testing.T, u URL) {
	t.Helper()
	again, err := Parse(u.Full())
	if err != nil || again != u {
		t.Errorf("Parse(%q) = %q, %v; want the same URL", u.Full(), again.Full(), err)
	}
	scheme, host, port, opts := u.Table()
	table, err := FromTable(scheme, host, port, opts)
	if err != nil {
		t.Errorf("FromTable of %q: %v", u.Full(), err)
		return
	}
	if table.Normalize() != u.Normalize() || table.options != u.options ||
		table.username != u.username || table.password != u.password {
		t.Errorf("FromTable of %q = %q", u.Full(), table.Full())
	}
	n, err := Parse(u.Normalize().String())
	if err != nil || n.Normalize() != u.Normalize() {
		t.Errorf("normalised %q isn't stable: %q, %v", u, n, err)
	}
}

func TestURLParseErrors(t *testing.T) {
	tests := []struct {
		in, field, want string
		is              error
	}{
		{"192.168.1.10:502", "url", "has no scheme", nil},
		{"tpc://h:1", "scheme", `did you mean "tcp"`, ErrUnknownScheme},
		{"opc.tcp://h:1", "scheme", "known are", ErrUnknownScheme},
		{"tls+udp://h:1", "scheme", "tls needs tcp", nil},
		{"dtls+tcp://h:1", "scheme", "need udp", nil},
		{"tcp+tcp://h:1", "scheme", "twice", nil},
		{"tcp+udp://h:1", "scheme", "more than one transport", nil},
		{"tls+dtls://h:1", "scheme", "more than one of tls", nil},
		{"rtu://h:1", "scheme", "rtu+tcp or rtu+serial", nil},
		{"rtu+ascii+tcp://h:1", "scheme", "more than one framing", nil},
		{"prp+serial:///dev/ttyS0", "scheme", "need tcp or udp", nil},
		{"://h:1", "scheme", "unknown scheme", ErrUnknownScheme},
		{"tcp://h", "port", "502", nil},
		{"tcp://h:0", "host", "1 to 65535", nil},
		{"tcp://h:65536", "host", "1 to 65535", nil},
		{"tcp://h:+5", "host", "1 to 65535", nil},
		{"tcp://:502", "host", "no host", nil},
		{"tcp://fe80::1:502", "host", "brackets", nil},
		{"tcp://[fe80::1:502", "host", "closing bracket", nil},
		{"tcp://[10.0.0.1]:502", "host", "not an IPv6", nil},
		{"tcp://300.1.1.1:502", "host", "neither an IPv4", nil},
		{"tcp://h x:502", "host", "letters, digits", nil},
		{"tcp://h:1/path", "url", "path", nil},
		{"tcp://h:1#x", "url", "fragment", nil},
		{"serial://dev/ttyUSB0", "host", "serial:///dev/ttyUSB0", nil},
		{"serial://", "host", "missing", nil},
		{"tcp://h:1?timout=1s", "opts.timout", `did you mean "timeout"`, ErrUnknownOption},
		{"tcp://h:1?zzzzzzzz=1", "opts.zzzzzzzz", "known are", ErrUnknownOption},
		{"tcp://h:1?timeout=1000", "opts.timeout", "a number and a unit", nil},
		{"tcp://h:1?timeout=1h", "opts.timeout", "between 1ms and 10m", nil},
		{"tcp://h:1?timeout", "opts.timeout", "no value", nil},
		{"tcp://h:1?timeout=1s&timeout=2s", "opts.timeout", "twice", nil},
		{"tcp://h:1?timeout=%zz", "opts.timeout", "% escape", nil},
		{"tcp://h:1?idle_timeout=1ms", "opts.idle_timeout", "between 1s", nil},
		{"tcp://h:1?max_conns=0", "opts.max_conns", "between 1 and 256", nil},
		{"tcp://h:1?max_conns=x", "opts.max_conns", "not an integer", nil},
		{"tcp://h:1?halfduplex=2", "opts.halfduplex", "1 or 0", nil},
		{"tcp://h:1?rate=5bps", "opts.rate", "200pps", nil},
		{"tcp://h:1?rate=1pps,2pps", "opts.rate", "200pps", nil},
		{"tcp://h:1?rate=0", "opts.rate", "200pps", nil},
		{"tcp://h:1?rate=1e3", "opts.rate", "200pps", nil},
		{"tcp://h:1?burst=4", "opts.burst", "without rate", nil},
		{"tcp://h:1?rate=5pps&burst_bytes=4X", "opts.burst_bytes", "not a size", nil},
		{"tcp://h:1?ca=/a", "opts.ca", "for tls, dtls", nil},
		{"tls://h:1?ca=", "opts.ca", "empty", nil},
		{"tls://h:1?client_cert=/a", "opts.client_cert", "without client_key", nil},
		{"tls://h:1?min_version=1.1", "opts.min_version", "none of 1.2, 1.3", nil},
		{"tcp://h:1?source=eth0", "opts.source", "IP address", nil},
		{"tcp://h:1?backup=h2", "opts.backup", "host:port", nil},
		{"tcp://h:1?failback=5s", "opts.failback", "without backup", nil},
		{"tcp://h:1?baud=9600", "opts.baud", "halfduplex=1", nil},
		{"tcp://h:1?parity=E", "opts.parity", "for serial", nil},
		{"serial:///dev/ttyS0?max_conns=2", "opts.max_conns", "one owner", nil},
		{"serial:///dev/ttyS0?stop_bits=1.5", "opts.stop_bits", "data_bits=5", nil},
		{"serial:///dev/ttyS0?rs485_delay_after=1ms", "opts.rs485_delay_after", "rs485=1", nil},
		{"serial:///dev/ttyS0?username=x", "opts.username", "not for serial", nil},
		{"tcp://h:1?backoff=5s&backoff_max=1s", "opts.backoff_max", "less than backoff", nil},
		{"tls://h:1?ca=${file:ca}", "opts.ca", "no reference to a secret", nil},
		{"tcp://u:${file:../x}@h:1", "opts.password", "${file:NAME}", nil},
		{"tcp://u:${vault:x}@h:1", "opts.password", "${file:NAME}", nil},
		{"tcp://u:${env:HOME}@h:1", "opts.password", "EDGE_SECRET_", nil},
		{"tcp://u:p@h:1?password=q", "opts.password", "given twice", nil},
		{"dtls://u:secret@h:1", "opts.password", "hexadecimal", nil},
	}
	for _, tt := range tests {
		u, err := Parse(tt.in)
		var field *config.FieldError
		if !errors.As(err, &field) {
			t.Errorf("Parse(%q) = %v, %v; want a config.FieldError", tt.in, u, err)
			continue
		}
		if strings.Join(field.Path, ".") != tt.field || !strings.Contains(field.Msg, tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("Parse(%q): %q: %q; want %q: …%q…", tt.in, strings.Join(field.Path, "."), field.Msg, tt.field, tt.want)
		}
		if u != (URL{}) {
			t.Errorf("Parse(%q) failed but returned %v", tt.in, u)
		}
	}
	for _, format := range []string{"tls://h:1?ca=%s", "serial:///%s", "tcp://%s@h:1", "tcp://:%s@h:1"} {
		long := strings.Repeat("%C8", maxText-1)
		u, err := Parse(fmt.Sprintf(format, long))
		if err != nil {
			t.Errorf("%s of %d bytes: %v", format, maxText-1, err)
			continue
		}
		checkRoundTrips(t, u) // its escaped form is longer
		if _, err := Parse(fmt.Sprintf(format, long+"xx")); err == nil {
			t.Errorf("%s of %d bytes was accepted", format, maxText+1)
		}
	}
}

func TestFromTable(t *testing.T) {
	u, err := FromTable("tls+tcp", "192.168.10.5", 502, map[string]string{
		"timeout": "1000ms", "ca": "/certs/plant_ca.pem", "client_cert": "/certs/edge.crt",
		"client_key": "/certs/edge.key", "rate": "200pps", "username": "edge", "password": "${file:pw}",
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "tls+tcp://***@192.168.10.5:502?ca=/certs/plant_ca.pem&client_cert=/certs/edge.crt&client_key=/certs/edge.key&rate=200pps&timeout=1000ms"
	if u.String() != want {
		t.Errorf("String() = %s", u)
	}
	if o := u.Options(); o.Timeout != time.Second || o.Rate != (Rate{Packets: 200}) || o.MaxConns != 1 {
		t.Errorf("Options() = %+v", o)
	}
	if u.LiteralPassword() {
		t.Error("a reference counts as literal password")
	}
	checkRoundTrips(t, u)

	v6, err := FromTable("tcp", "[::1]", 502, nil)
	if err != nil || v6.Host() != "::1" || v6.String() != "tcp://[::1]:502" {
		t.Errorf("FromTable([::1]) = %v, %v", v6, err)
	}
	for _, bad := range []struct {
		scheme, host string
		port         uint16
		opts         map[string]string
		field        string
	}{
		{"tcp", "h", 0, nil, "port"},
		{"serial", "/dev/ttyS0", 502, nil, "port"},
		{"tcp", "", 502, nil, "host"},
		{"tcp", "192.168.10.5:502", 502, nil, "host"},
		{"tcp", "h/x", 502, nil, "host"},
		{"serial", "/dev/tty\nS0", 0, nil, "host"},
		{"serial", "${file:x}", 0, nil, "host"},
		{"tcp", "h", 1, map[string]string{"": "x"}, "opts."},
	} {
		_, err := FromTable(bad.scheme, bad.host, bad.port, bad.opts)
		var field *config.FieldError
		if !errors.As(err, &field) || strings.Join(field.Path, ".") != bad.field {
			t.Errorf("FromTable(%v) = %v, want an error about %q", bad, err, bad.field)
		}
	}
}

// TestNoLeak prints a URL with credentials every way there is.
func TestNoLeak(t *testing.T) {
	const user, pass = "operator", "s3cr3t-0f-plant"
	u, err := Parse("tcp://" + user + ":" + pass + "@h:1")
	if err != nil {
		t.Fatal(err)
	}
	if !u.LiteralPassword() || !strings.Contains(u.Full(), pass) {
		t.Fatal("the URL lost its password")
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "url", u, "ptr", &u)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "url", u, "in", struct{ U URL }{u})
	n := u.Normalize()
	for _, text := range []string{
		fmt.Sprint(u), fmt.Sprintf("%v %+v %#v %s %q %x %d", u, u, u, u, u, u, u),
		fmt.Sprintf("%v %+v %#v", &u, []URL{u}, struct{ U URL }{u}), fmt.Sprintf("%#v", n), n.String(),
		logged.String(),
	} {
		if strings.Contains(text, user) || strings.Contains(text, pass) ||
			strings.Contains(text, fmt.Sprintf("%x", pass)) {
			t.Errorf("leaked: %s", text)
		}
	}
	for _, bad := range []string{
		"tcp://" + user + ":" + pass + "@h:x", "tcp://" + user + ":" + pass + "%zz@h:1",
		"tcp://" + user + ":" + pass + "@h:1?username=" + user, "tcp://h:1/?password=" + pass + "&passwort=1",
		"dtls://" + user + ":" + pass + "@h:1", user + ":" + pass, "tcp://" + user + ":" + pass,
		"tcp://" + user + ":${" + pass + "@h:1", "serial://" + user + ":" + pass + "@dev", "tcp://" + user + "?" + pass + "@h:1",
		"tcp://h:1?" + pass + "@h:1",
	} {
		_, err := Parse(bad)
		if err == nil {
			t.Errorf("Parse(%q) worked", bad)
		} else if strings.Contains(err.Error(), user) || strings.Contains(err.Error(), pass) {
			t.Errorf("leaked in error: %v", err)
		}
	}
}

func TestKnownOptions(t *testing.T) {
	last := ""
	for _, o := range KnownOptions() {
		if o.Name <= last {
			t.Errorf("%q isn't in order: the search needs that", o.Name)
		}
		last = o.Name
		if o.Doc == "" || o.Type == "" || o.Example == "" || o.For == "" {
			t.Errorf("%q isn't documented", o.Name)
		}
		if !o.Secret {
			checkField(t, o)
		}
	}
}

// checkField sets an option to its example: the field of its name must change,
// and no other.
func checkField(t *testing.T, o Option) {
	t.Helper()
	var before, after Options
	if err := findOption(o.Name).set(&after, o.Example); err != nil {
		t.Error(err)
	}
	b, a := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range a.NumField() {
		field := strings.ToLower(a.Type().Field(i).Name)
		mine := strings.HasPrefix(strings.ReplaceAll(o.Name, "_", ""), field) && len(o.Name)-len(field) < 8
		changed := !a.Field(i).Equal(b.Field(i))
		if changed && !mine {
			t.Errorf("%s=%s changed %s", o.Name, o.Example, field)
		}
	}
	if after == before && o.Example != "0" {
		t.Errorf("%s=%s changed nothing", o.Name, o.Example)
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"tls+tcp://user:pw@192.168.10.5:502?timeout=1000ms&ca=%2Fcerts%2Fplant_ca.pem&rate=200pps",
		"rtu+serial:///dev/ttyUSB0?baud=19200&parity=E&rs485=1", "tcp://[fe80::1%25eth0]:502",
		"dtls://a:${file:k}@h:1?backup=[::1]:5", "bluetooth://00:11:22:33:44:55", "udp://h:1?rate=1.5kBps,2&burst=3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil {
			return
		}
		checkRoundTrips(t, u)
		if u.password != "" && len(u.password) > 8 && !strings.Contains(u.host+u.query+u.username, u.password) &&
			strings.Contains(u.String(), u.password) {
			t.Errorf("String() shows the password of %q", text)
		}
	})
}

func BenchmarkParseURL(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("tls+tcp://192.168.10.5:502?timeout=1000ms&ca=/certs/plant_ca.pem&rate=200pps"); err != nil {
			b.Fatal(err)
		}
	}
}
