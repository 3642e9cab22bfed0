package opcua

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"
)

// canned is a connection that says what it was given.
type canned struct {
	net.Conn
	io.Reader
}

func (c canned) Read(p []byte) (int, error)     { return c.Reader.Read(p) }
func (canned) Write(p []byte) (int, error)      { return len(p), nil }
func (canned) Close() error                     { return nil }
func (canned) SetDeadline(time.Time) error      { return nil }
func (canned) SetWriteDeadline(time.Time) error { return nil }
func (canned) Release(error)                    {}
func (canned) SetReadDeadline(time.Time) error  { return nil }

// hearing returns a channel that hears b, with the keys of token 1.
func hearing(b []byte, s sealer) *channel {
	in := canned{Reader: bytes.NewReader(b)}
	c := &channel{lease: in, in: bufio.NewReader(in), pending: map[uint32]chan<- reply{}, done: make(chan struct{}), timeout: time.Second}
	c.sec = security{policy: ua.SecurityPolicyURINone, mode: ua.MessageSecurityModeNone}
	c.keys = []*token{{1, s}}
	return c
}

// said returns a message as a server sends it.
func said(t testing.TB, s sealer, seq uint32, more byte, body []byte) []byte {
	t.Helper()
	b := append([]byte("MSG"), more, 0, 0, 0, 0)
	for _, n := range []uint32{1, 1, seq, 7} { // channel, token, sequence, request
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b, err := s.seal(append(b, body...), 16)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pair returns the two sides of a channel's keys.
func pair(t testing.TB, policy string, encrypt bool) (ours, theirs sealer) {
	t.Helper()
	a, b := make([]byte, 32), make([]byte, 32)
	_, _ = rand.Read(a)
	_, _ = rand.Read(b)
	x, err := uapolicy.Symmetric(policy, a, b)
	if err != nil {
		t.Fatal(err)
	}
	y, err := uapolicy.Symmetric(policy, b, a)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{x, true, encrypt}, sealer{y, true, encrypt}
}

// What is sealed opens, whatever its size; what was touched does not; no message is
// taken twice or out of order.
func TestSealed(t *testing.T) {
	for _, policy := range []string{ua.SecurityPolicyURIBasic256Sha256, ua.SecurityPolicyURIAes128Sha256RsaOaep, ua.SecurityPolicyURIAes256Sha256RsaPss} {
		for _, encrypt := range []bool{false, true} {
			ours, theirs := pair(t, policy, encrypt)
			for size := range 70 {
				body := bytes.Repeat([]byte{byte(size)}, size)
				whole := said(t, theirs, 1, 'F', body)
				_, got, err := hearing(nil, ours).openChunk("MSG", bytes.Clone(whole))
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("%s, encrypted %v: %d bytes: %x, %v", policyName(policy), encrypt, size, got, err)
				}
				for i := 16; i < len(whole); i += 5 {
					touched := bytes.Clone(whole)
					touched[i] ^= 1
					if _, _, err := hearing(nil, ours).openChunk("MSG", touched); err == nil {
						t.Fatalf("%s, encrypted %v: byte %d was touched, and nobody noticed", policyName(policy), encrypt, i)
					}
				}
			}
			c := hearing(nil, ours)
			for _, seq := range []uint32{5, 6, 6} {
				_, _, err := c.openChunk("MSG", said(t, theirs, seq, 'F', nil))
				if again := c.inSeq == seq && seq == 6 && err != nil; err != nil && !again {
					t.Errorf("sequence %d: %v", seq, err)
				}
			}
			if _, _, err := c.openChunk("MSG", said(t, theirs, 6, 'F', nil)); err == nil {
				t.Error("a message was taken twice")
			}
			if n := ours.room(8192, 4); len(said(t, ours, 1, 'F', make([]byte, n))) > 8192 || len(said(t, ours, 1, 'F', make([]byte, n+16))) <= 8192 {
				t.Errorf("%s: a chunk of 8192 bytes has room for %d", policyName(policy), n)
			}
		}
	}
}

// The messages that open a channel are sealed with keys of any allowed size.
func TestSealedAsymmetric(t *testing.T) {
	for _, bits := range []int{2048, 3072} {
		a, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		b, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, policy := range []string{ua.SecurityPolicyURIBasic256Sha256, ua.SecurityPolicyURIAes128Sha256RsaOaep, ua.SecurityPolicyURIAes256Sha256RsaPss} {
			x, err := uapolicy.Asymmetric(policy, a, &b.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			y, err := uapolicy.Asymmetric(policy, b, &a.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range [][2]*uapolicy.EncryptionAlgorithm{{x, y}, {y, x}} {
				from, to := sealer{way[0], true, true}, sealer{way[1], true, true}
				for size := 0; size < 400; size += 37 {
					body := bytes.Repeat([]byte{7}, size)
					sealed, err := from.seal(append(make([]byte, 100), body...), 100)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := to.open(sealed, 100); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%s with %d bits: %d bytes: %x, %v", policyName(policy), bits, size, got, err)
					}
				}
			}
		}
	}
}

// FuzzReceive: whatever a server says, the channel ends or goes on, in bounded memory.
func FuzzReceive(f *testing.F) {
	algo, err := uapolicy.Symmetric(ua.SecurityPolicyURINone, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	plain := sealer{algo: algo}
	body, err := encodeResponse(&ua.ReadResponse{
		ResponseHeader: &ua.ResponseHeader{ServiceDiagnostics: &ua.DiagnosticInfo{}, AdditionalHeader: ua.NewExtensionObject(nil)},
		Results:        []*ua.DataValue{{EncodingMask: ua.DataValueValue, Value: ua.MustVariant([]int32{1, 2})}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(said(f, plain, 1, 'F', body))
	f.Add(append(said(f, plain, 1, 'C', body[:10]), said(f, plain, 2, 'F', body[10:])...))
	f.Add(said(f, plain, 1, 'A', []byte{0, 0, 52, 128, 255, 255, 255, 255}))
	f.Add([]byte("ERRF\x10\x00\x00\x00\x00\x00\x13\x80\xff\xff\xff\xff"))
	f.Add([]byte("OPNF\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		c := hearing(b, plain)
		wait := make(chan reply, 1)
		c.pending[7] = wait
		for c.receiveOne() == nil {
		}
		select {
		case r := <-wait:
			if got, ok := r.resp.(*ua.ReadResponse); ok && r.err == nil {
				for _, dv := range got.Results {
					if dv != nil && dv.Value != nil {
						_, _ = (&meaning{datatype: "string"}).value(dv.Value)
						_, _ = (&meaning{datatype: "json", index: 2}).value(dv.Value)
						_, _ = (&meaning{datatype: "json"}).value(dv.Value)
						_, _ = (&meaning{datatype: "uint16"}).value(dv.Value)
					}
				}
			}
		default:
		}
	})
}

func encodeResponse(resp ua.Response) ([]byte, error) {
	buf := ua.NewBuffer(nil)
	buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(resp)))
	buf.WriteStruct(resp)
	return buf.Bytes(), buf.Error()
}

// A nesting without end is refused before it takes the stack.
func TestNested(t *testing.T) {
	header := []byte{1, 0, 0x7a, 2} // ReadResponse
	header = append(header, make([]byte, 16)...)
	deep := append(bytes.Clone(header), bytes.Repeat([]byte{0x40}, 3<<20)...) // inner diagnostics
	if _, err := decodeService(deep); err == nil {
		t.Error("diagnostics within diagnostics were taken")
	}
	variants := append(bytes.Clone(header), 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0) // no diagnostics, no strings, no more
	variants = append(variants, 1, 0, 0, 0, 1)                                  // one value
	variants = append(variants, bytes.Repeat([]byte{24}, 3<<20)...)
	if _, err := decodeService(variants); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("values within values were taken: %v", err)
	}
}

// TestSmallValues: values of one byte each don't take a hundred times the memory of their
// message. What servers send in the largest messages is taken.
func TestSmallValues(t *testing.T) {
	head := append([]byte{1, 0, 0x7a, 2}, make([]byte, 16)...)                  // ReadResponse
	head = append(head, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0)                     // no diagnostics, no strings, no more
	results := binary.LittleEndian.AppendUint32(bytes.Clone(head), 3<<20)       // values without a value
	array := append(bytes.Clone(head), 1, 0, 0, 0, 1, 0x80|24, 0, 0, 48, 0)     // one value: null variants
	texts := append(bytes.Clone(head), 1, 0, 0, 0, 1, 0x80|21, 0, 0, 48, 0)     // empty texts with a language
	flags := append(bytes.Clone(head), 1, 0, 0, 0, 1, 0x80|1, 0x60, 0xea, 0, 0) // Booleans
	end := binary.LittleEndian.AppendUint32(nil, 0)
	for name, m := range map[string][]byte{"values": results, "variants": array, "texts": texts} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decodeService(slices.Concat(m, make([]byte, 3<<20), end))
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), "of memory") || took > 64<<20 {
			t.Errorf("%s: %d MiB, %v", name, took>>20, err)
		}
	}
	resp, err := decodeService(slices.Concat(flags, make([]byte, 60_000), end))
	if err != nil {
		t.Fatalf("60,000 Booleans: %v", err)
	}
	if got, ok := resp.(*ua.ReadResponse); !ok || len(got.Results) != 1 || got.Results[0].Value.ArrayLength() != 60_000 {
		t.Errorf("60,000 Booleans: %T", resp)
	}
}
