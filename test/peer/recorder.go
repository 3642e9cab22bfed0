package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/klauspost/compress/zstd"
)

// Recorder is a plain MQTT 5 subscriber with a persistent session at QoS 2 that
// writes what it gets to a file as it is: decoding beside a gateway at full load
// would cost more than the gateway. [Recorder.Verify] reads it afterwards.
type Recorder struct {
	manager *autopaho.ConnectionManager
	stop    context.CancelFunc
	path    string
	tb      testing.TB

	messages atomic.Uint64
	last     atomic.Uint64 // seq of the last frame of the last message

	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
}

// recorded is what stands before a payload in the file.
type recorded struct {
	Properties map[string]string `json:"p"`
	Received   time.Time         `json:"t"`
	Size       int               `json:"n"`
}

// Record connects and subscribes before it returns; it ends with the test.
func Record(t testing.TB, addr, clientID, filter string) *Recorder {
	t.Helper()
	r := &Recorder{path: filepath.Join(t.TempDir(), "recorded"), tb: t}
	var err error
	if r.file, err = os.Create(r.path); err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewWriterSize(r.file, 1<<20)
	subscribed := make(chan error, 16)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.manager, err = autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: addr}}, KeepAlive: 20, SessionExpiryInterval: 3600,
		ReconnectBackoff: func(int) time.Duration { return 200 * time.Millisecond }, ConnectTimeout: 5 * time.Second,
		AttemptConnection: func(ctx context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
			if err != nil {
				return nil, err
			}
			return newBuffered(c), nil
		},
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			_, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 2}}})
			select {
			case subscribed <- err:
			default: // a later reconnect; nobody waits
			}
		},
		ClientConfig: paho.ClientConfig{ClientID: clientID, OnPublishReceived: []func(paho.PublishReceived) (bool, error){r.received}},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	select {
	case err := <-subscribed:
		if err != nil {
			t.Fatalf("subscribe to %s: %v", filter, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no subscription to %s at %s in 10 s", filter, addr)
	}
	return r
}

// buffered spares paho, which reads byte by byte, the system calls.
type buffered struct {
	net.Conn
	sync.Mutex // paho locks it while it writes
	r          *bufio.Reader
}

func newBuffered(c net.Conn) *buffered {
	return &buffered{Conn: c, r: bufio.NewReaderSize(c, 64<<10)}
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

func (r *Recorder) received(p paho.PublishReceived) (bool, error) {
	head := recorded{Properties: map[string]string{}, Received: time.Now(), Size: len(p.Packet.Payload)}
	for _, u := range p.Packet.Properties.User {
		head.Properties[u.Key] = u.Value
	}
	line, err := json.Marshal(head)
	if err != nil {
		r.tb.Errorf("recorder: %v", err)
		return true, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(line)))) // Flush returns the error
	_, _ = r.out.Write(line)
	_, _ = r.out.Write(p.Packet.Payload)
	r.messages.Add(1)
	if n, err := strconv.ParseUint(head.Properties["last_seq"], 10, 64); err == nil {
		r.last.Store(max(r.last.Load(), n))
	}
	return true, nil
}

func (r *Recorder) close() {
	r.stop()
	<-r.manager.Done()
	_ = r.file.Close() // in the test's own directory
}

// Messages is how many messages have come.
func (r *Recorder) Messages() uint64 { return r.messages.Load() }

// LastSeq is the highest seq that has come.
func (r *Recorder) LastSeq() uint64 { return r.last.Load() }

// Recording is what a recorder has got, in sum.
type Recording struct {
	Frames      uint64
	First, Last uint64
	Repeats     uint64 // frames that came more than once
	Missing     uint64 // seqs between First and Last that never came
	Late        uint64 // messages that came after a later one of their stream
	Bytes       int64  // of payloads, as they came
}

// Arrival is one message of a recording: the times of its first and last frame,
// and when it came.
type Arrival struct {
	Stream      string
	First, Last uint64
	Newest      time.Time
	Received    time.Time
}

// Verify reads what was recorded. each, if not nil, is told of every message.
func (r *Recorder) Verify(each func(Arrival)) Recording {
	r.tb.Helper()
	r.mu.Lock()
	err := r.out.Flush()
	r.mu.Unlock()
	if err != nil {
		r.tb.Fatalf("recorder: %v", err)
	}
	f, err := os.Open(r.path)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		r.tb.Fatal(err)
	}
	defer decoder.Close()
	v := verifier{seen: map[uint64]uint64{}, last: map[string]uint64{}}
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		head, payload, err := readRecorded(in)
		if errors.Is(err, io.EOF) {
			return v.result()
		}
		if err != nil {
			r.tb.Fatalf("recording: %v", err)
		}
		v.rec.Bytes += int64(len(payload))
		if head.Properties["encoding"] == "zstd" {
			if v.plain, err = decoder.DecodeAll(payload, v.plain[:0]); err != nil {
				r.tb.Fatalf("payload is not zstd: %v", err)
			}
			payload = v.plain
		}
		a, err := v.message(head, payload)
		if err != nil {
			r.tb.Fatal(err)
		}
		if each != nil {
			each(a)
		}
	}
}

func readRecorded(in *bufio.Reader) (head recorded, payload []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return head, nil, err
	}
	line := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(in, line); err != nil {
		return head, nil, err
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return head, nil, err
	}
	payload = make([]byte, head.Size)
	_, err = io.ReadFull(in, payload)
	return head, payload, err
}

// verifier finds the seqs in payloads. It keeps a bit for each.
type verifier struct {
	rec   Recording
	seen  map[uint64]uint64 // by seq / 64
	last  map[string]uint64 // by stream
	plain []byte
}

// message takes the frames of a message: it looks for what begins each of them,
// which numeric values cannot hold.
func (v *verifier) message(head recorded, payload []byte) (Arrival, error) {
	a := Arrival{Stream: head.Properties["stream"], Received: head.Received}
	before := v.rec.Frames + v.rec.Repeats
	for rest := payload; ; {
		_, after, ok := bytes.Cut(rest, []byte(`{"seq":`))
		if !ok {
			break
		}
		seq, digits := uint64(0), 0
		for ; digits < len(after) && after[digits] >= '0' && after[digits] <= '9'; digits++ {
			seq = seq*10 + uint64(after[digits]-'0')
		}
		rest = after[digits:]
		if a.First == 0 {
			a.First = seq
		}
		a.Last = seq
		v.frame(seq)
	}
	if v.rec.Frames+v.rec.Repeats == before {
		return a, fmt.Errorf("a message without frames: %.100s", payload)
	}
	if head.Properties["first_seq"] != strconv.FormatUint(a.First, 10) || head.Properties["last_seq"] != strconv.FormatUint(a.Last, 10) {
		return a, fmt.Errorf("a message of frames %d to %d has the properties %v", a.First, a.Last, head.Properties)
	}
	if _, ts, ok := bytes.Cut(payload[bytes.LastIndex(payload, []byte(`"ts":`)):], []byte(":")); ok {
		ms, _, _ := bytes.Cut(ts, []byte(","))
		n, err := strconv.ParseInt(string(ms), 10, 64)
		if err != nil {
			return a, fmt.Errorf("frame %d: ts: %w", a.Last, err)
		}
		a.Newest = time.UnixMilli(n)
	}
	if a.Last < v.last[a.Stream] {
		v.rec.Late++
	}
	v.last[a.Stream] = max(v.last[a.Stream], a.Last)
	return a, nil
}

func (v *verifier) frame(seq uint64) {
	word, bit := seq/64, uint64(1)<<(seq%64)
	if v.seen[word]&bit != 0 {
		v.rec.Repeats++
		return
	}
	v.seen[word] |= bit
	v.rec.Frames++
	if v.rec.First == 0 || seq < v.rec.First {
		v.rec.First = seq
	}
	v.rec.Last = max(v.rec.Last, seq)
}

func (v *verifier) result() Recording {
	if v.rec.Frames > 0 {
		v.rec.Missing = v.rec.Last - v.rec.First + 1 - v.rec.Frames
	}
	return v.rec
}
