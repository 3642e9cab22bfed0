package modbus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	gomodbus "github.com/goburrow/modbus"
	"github.com/prometheus/client_golang/prometheus"
)

func testLink(t testing.TB, framing Framing) *link {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry(), 10)
	if err != nil {
		t.Fatal(err)
	}
	return newLink(&Settings{UnitID: 17, Framing: framing, MaxInflight: 4, Timeout: time.Second}, m.driver("d"))
}

// script is a connection that gives what it is told, in the pieces it is told.
type script struct {
	net.Conn
	pieces [][]byte
	sent   bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}
func (s *script) Write(p []byte) (int, error)      { return s.sent.Write(p) }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// ask queues a read of 2 holding registers at 0x6B and returns the request.
func askTwo(t testing.TB, l *link, conn net.Conn) []byte {
	t.Helper()
	adu, err := readEncoder(l.packager)(FuncReadHolding, 0x6B, 2)
	if err != nil {
		t.Fatal(err)
	}
	l.attach(context.Background(), conn)
	l.tx = 0x1500
	l.queue(&request{fn: FuncReadHolding, addr: 0x6B, qty: 2, adu: adu})
	return adu
}

// TestRequestsAreGoburrows: the stamped request is what goburrow's packager
// makes of the same transaction.
func TestRequestsAreGoburrows(t *testing.T) {
	for _, f := range []Framing{FramingTCP, FramingRTU, FramingASCII} {
		l, conn := testLink(t, f), new(script)
		askTwo(t, l, conn)
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		pdu := &gomodbus.ProtocolDataUnit{FunctionCode: 3, Data: []byte{0, 0x6B, 0, 2}}
		want, err := f.packager(17).Encode(pdu)
		if err != nil {
			t.Fatal(err)
		}
		if f == FramingTCP {
			want[0], want[1] = 0x15, 0x01
		}
		if !bytes.Equal(conn.sent.Bytes(), want) {
			t.Errorf("%s: sent % X, want % X", f, conn.sent.Bytes(), want)
		}
	}
}

func TestAnswers(t *testing.T) {
	const good = "1501 0000 0007 11 03 04 1234 5678"
	for _, c := range []struct {
		name    string
		framing Framing
		answer  []string
		reason  string // of the rejection; "timeout"; "exception"; "" for 12345678
	}{
		{"good", FramingTCP, []string{good}, ""},
		{"in pieces", FramingTCP, []string{"15", "01 0000 00", "07 11 03 04 1234 56", "78"}, ""},
		{"after a late one", FramingTCP, []string{"1500 0000 0007 11 03 04 9999 9999", good}, ""},
		{"after a late one, in one piece", FramingTCP, []string{"1500 0000 0007 11 03 04 9999 9999" + good}, ""},
		{"only a late one", FramingTCP, []string{"1500 0000 0007 11 03 04 9999 9999"}, "timeout"},
		{"other unit", FramingTCP, []string{"1501 0000 0007 12 03 04 1234 5678"}, "unit"},
		{"other function", FramingTCP, []string{"1501 0000 0007 11 04 04 1234 5678"}, "function"},
		{"other protocol", FramingTCP, []string{"1501 0001 0007 11 03 04 1234 5678"}, "protocol"},
		{"HTTP", FramingTCP, []string{"485454502F312E312034303020"}, "protocol"},
		{"too few registers", FramingTCP, []string{"1501 0000 0005 11 03 02 1234"}, "length"},
		{"too many registers", FramingTCP, []string{"1501 0000 0009 11 03 06 1234 5678 9ABC"}, "length"},
		{"byte count too small", FramingTCP, []string{"1501 0000 0007 11 03 02 1234 5678"}, "length"},
		{"byte count too large", FramingTCP, []string{"1501 0000 0007 11 03 06 1234 5678"}, "length"},
		{"no byte count", FramingTCP, []string{"1501 0000 0002 11 03"}, "length"},
		{"bytes behind the data", FramingTCP, []string{"1501 0000 0008 11 03 04 1234 5678 00"}, "length"},
		{"header length 1", FramingTCP, []string{"1501 0000 0001 11"}, "length"},
		{"header length 255", FramingTCP, []string{"1501 0000 00FF 11"}, "length"},
		{"cut", FramingTCP, []string{"1501 0000 0007 11 03 04 1234"}, "timeout"},
		{"silence", FramingTCP, nil, "timeout"},
		{"exception", FramingTCP, []string{"1501 0000 0003 11 83 02"}, "exception"},
		{"exception with data", FramingTCP, []string{"1501 0000 0004 11 83 02 00"}, "length"},
		{"exception without code", FramingTCP, []string{"1501 0000 0002 11 83"}, "length"},
		{"exception to another function", FramingTCP, []string{"1501 0000 0003 11 84 02"}, "function"},

		{"good", FramingRTU, []string{"11 03 04 1234 5678 crc"}, ""},
		{"in pieces", FramingRTU, []string{"11 03 04 1234 5678 crc"}, ""},
		{"exception", FramingRTU, []string{"11 83 02 crc"}, "exception"},
		{"wrong checksum", FramingRTU, []string{"11 03 04 1234 5678 0000"}, "checksum"},
		{"other unit", FramingRTU, []string{"12 03 04 1234 5678 crc"}, "unit"},
		{"other function", FramingRTU, []string{"11 04 04 1234 5678 crc"}, "function"},
		{"unknown function", FramingRTU, []string{"11 2B 04 1234 5678 crc"}, "function"},
		{"too few registers", FramingRTU, []string{"11 03 02 1234 crc"}, "length"},
		{"too many registers", FramingRTU, []string{"11 03 06 1234 5678 9ABC crc"}, "length"},
		{"impossible byte count", FramingRTU, []string{"11 03 FF 1234 5678"}, "length"},
		{"stray bytes behind", FramingRTU, []string{"11 03 04 1234 5678 crc 00"}, ""},
		{"cut", FramingRTU, []string{"11 03 04 1234 56"}, "timeout"},

		{"good", FramingASCII, []string{"lrc 11 03 04 1234 5678"}, ""},
		{"exception", FramingASCII, []string{"lrc 11 83 02"}, "exception"},
		{"other unit", FramingASCII, []string{"lrc 12 03 04 1234 5678"}, "unit"},
		{"too few registers", FramingASCII, []string{"lrc 11 03 02 1234"}, "length"},
		{"wrong checksum", FramingASCII, []string{"3A 31313033303431323334353637383030 0D0A"}, "checksum"},
		{"odd", FramingASCII, []string{"3A 313130333034313233343536373830 0D0A"}, "length"},
		{"no colon", FramingASCII, []string{"31 31 30 33"}, "protocol"},
		{"too short", FramingASCII, []string{"3A 3131 0D0A"}, "length"},
		{"endless", FramingASCII, []string{"3A", string(bytes.Repeat([]byte("30"), 600))}, "length"},
	} {
		l, conn := testLink(t, c.framing), new(script)
		askTwo(t, l, conn)
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		for _, a := range c.answer {
			whole := answerBytes(t, a)
			if c.name == "in pieces" {
				conn.pieces = slices.AppendSeq(conn.pieces, slices.Chunk(whole, 2))
				continue
			}
			conn.pieces = append(conn.pieces, whole)
		}
		data, err := nextData(l)
		switch reason := reasonOf(err); {
		case reason != c.reason:
			t.Errorf("%s, %s: %v (data % X), want %q", c.framing, c.name, err, data, c.reason)
		case c.reason == "" && !bytes.Equal(data, []byte{0x12, 0x34, 0x56, 0x78}):
			t.Errorf("%s, %s: data % X", c.framing, c.name, data)
		}
	}
}

// answerBytes reads hex, with "crc" at the end of an RTU answer and "lrc" in
// front of an ASCII one.
func answerBytes(t testing.TB, s string) []byte {
	t.Helper()
	if rest, ok := cut(s, "crc"); ok {
		body := unhex(t, rest[0])
		adu, err := FramingRTU.packager(body[0]).Encode(&gomodbus.ProtocolDataUnit{FunctionCode: body[1], Data: body[2:]})
		if err != nil {
			t.Fatal(err)
		}
		return append(adu, unhex(t, rest[1])...)
	}
	if rest, ok := cut(s, "lrc"); ok {
		body := unhex(t, rest[1])
		adu, err := FramingASCII.packager(body[0]).Encode(&gomodbus.ProtocolDataUnit{FunctionCode: body[1], Data: body[2:]})
		if err != nil {
			t.Fatal(err)
		}
		return adu
	}
	return unhex(t, s)
}

func cut(s, sep string) ([2]string, bool) {
	before, after, ok := bytes.Cut([]byte(s), []byte(sep))
	return [2]string{string(before), string(after)}, ok
}

// nextData does what the poller does with an answer.
func nextData(l *link) ([]byte, error) {
	fl, pdu, err := l.next()
	if err != nil {
		return nil, err
	}
	return readData(pdu, fl.req.fn, fl.req.fn.dataBytes(fl.req.qty))
}

func reasonOf(err error) string {
	if r, ok := errors.AsType[*Rejection](err); ok {
		return r.Reason
	}
	switch {
	case err == nil:
		return ""
	case exceptionCode(err) != 0:
		return "exception"
	case isTimeout(err):
		return "timeout"
	}
	return err.Error()
}

// TestAnyOrder: answers find their requests whatever the order.
func TestAnyOrder(t *testing.T) {
	l, conn := testLink(t, FramingTCP), new(script)
	l.attach(context.Background(), conn)
	l.tx = 9
	reqs := make([]*request, 3)
	for i := range reqs {
		reqs[i] = &request{fn: FuncReadInput, addr: uint16(i), qty: 1, adu: make([]byte, 12)}
		l.queue(reqs[i])
	}
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	if conn.sent.Len() != 36 {
		t.Errorf("sent %d bytes, want 36 in one write", conn.sent.Len())
	}
	conn.pieces = [][]byte{unhex(t, "000C 0000 0005 11 04 02 0003"+"000A 0000 0005 11 04 02 0001"), unhex(t, "000B 0000 0005 11 04 02 0002")}
	for _, want := range []int{2, 0, 1} {
		fl, pdu, err := l.next()
		if err != nil || fl.req != reqs[want] || pdu[3] != byte(want+1) {
			t.Errorf("answer % X for request %d, %v; want %d", pdu, slices.Index(reqs, fl.req), err, want)
		}
	}
	if err := l.detach(); err != nil {
		t.Error(err)
	}
}

// TestDetach: what nobody asked for spoils the connection.
func TestDetach(t *testing.T) {
	l, conn := testLink(t, FramingTCP), new(script)
	askTwo(t, l, conn)
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	conn.pieces = [][]byte{unhex(t, "1501 0000 0007 11 03 04 1234 5678 15")}
	if _, err := nextData(l); err != nil {
		t.Fatal(err)
	}
	if err := l.detach(); reasonOf(err) != "trailing" {
		t.Errorf("detach: %v, want trailing bytes", err)
	}
}

func TestPeerCloses(t *testing.T) {
	l := testLink(t, FramingTCP)
	a, b := net.Pipe()
	t.Cleanup(func() { _ = a.Close() })
	go func() {
		_, _ = io.ReadFull(b, make([]byte, 12)) // a failure shows below
		_ = b.Close()
	}()
	askTwo(t, l, a)
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := nextData(l); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the device closed the connection: %v", err)
	}
}

// FuzzAnswers: whatever a device says, in whatever pieces, a value comes only of
// an answer that is right in every respect.
func FuzzAnswers(f *testing.F) {
	f.Add(uint8(0), []byte("\x15\x01\x00\x00\x00\x07\x11\x03\x04\x12\x34\x56\x78"), uint8(3))
	f.Add(uint8(1), []byte("\x11\x03\x04\x12\x34\x56\x78\x00\x00"), uint8(1))
	f.Add(uint8(2), []byte(":110304123456780D\r\n"), uint8(200))
	f.Add(uint8(0), []byte("\x15\x01\x00\x00\x00\x03\x11\x83\x02"), uint8(9))
	var links []*link
	for _, framing := range []Framing{FramingTCP, FramingRTU, FramingASCII} {
		links = append(links, testLink(f, framing))
	}
	f.Fuzz(func(t *testing.T, which uint8, answer []byte, piece uint8) {
		l, conn := links[int(which)%len(links)], new(script)
		framing := l.settings.Framing
		askTwo(t, l, conn)
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		for chunk := range slices.Chunk(slices.Clone(answer), int(piece)+1) {
			conn.pieces = append(conn.pieces, chunk)
		}
		data, err := nextData(l)
		if err != nil {
			return
		}
		pdu := &gomodbus.ProtocolDataUnit{FunctionCode: 3, Data: append([]byte{4}, data...)}
		adu, err := framing.packager(17).Encode(pdu)
		if err != nil || len(data) != 4 {
			t.Fatalf("%d bytes of data, %v", len(data), err)
		}
		if framing == FramingTCP {
			adu[0], adu[1] = 0x15, 0x01
		}
		if framing == FramingASCII {
			adu, answer = bytes.ToUpper(adu), bytes.ToUpper(answer)
		}
		if !bytes.Contains(answer, adu) {
			t.Errorf("%s: data % X out of % X, which does not hold % X", framing, data, answer, adu)
		}
	})
}

// FuzzScan: no frame has more than there is, nor more than an ADU may have.
func FuzzScan(f *testing.F) {
	f.Add([]byte("\x15\x01\x00\x00\x00\x07\x11\x03\x04\x12\x34\x56\x78"))
	var links []*link
	for _, framing := range []Framing{FramingTCP, FramingRTU, FramingASCII} {
		links = append(links, testLink(f, framing))
	}
	f.Fuzz(func(t *testing.T, buf []byte) {
		buf = buf[:min(len(buf), 4096)]
		if n, err := scanTCP(buf); n < 0 || n > len(buf) || n > maxTCPADU || err != nil && n != 0 {
			t.Errorf("tcp: %d of %d bytes, %v", n, len(buf), err)
		}
		if n, err := rtuLength(buf); n < 0 || n > maxRTUADU || err != nil && n != 0 {
			t.Errorf("rtu: %d of %d bytes, %v", n, len(buf), err)
		}
		for _, l := range links {
			l.attach(context.Background(), new(script))
			l.w = copy(l.buf, buf)
			for {
				_, pdu, err := l.frame(nil)
				if l.r > l.w || len(pdu) > maxPDU {
					t.Fatalf("%s: at %d of %d bytes, % X", l.settings.Framing, l.r, l.w, pdu)
				}
				if pdu == nil || err != nil {
					break
				}
			}
		}
	})
}
