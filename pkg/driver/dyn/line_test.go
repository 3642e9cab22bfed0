//go:build linux

package dyn_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/sdk"
)

// The driver under test speaks to a device that has numbered words: "r 3" is answered with the
// word, "w 3 17" with what it holds then.
func lineDriver() sdk.Driver {
	return sdk.Driver{
		Name: "line", Version: "1.2.3", Protocols: []string{"line"}, Writes: true,
		Settings: `{"type": "object", "additionalProperties": false, "properties": {"answer_within": {"type": "string"}, "mode": {"type": "string"}}}`,
		Address:  `{"type": "object", "additionalProperties": false, "required": ["word"], "properties": {"word": {"type": "integer", "minimum": 0}}}`,
		Check: func(_ sdk.Config, points []sdk.Point) (found []sdk.Finding) {
			for _, p := range points {
				if word(p) > 9999 {
					found = append(found, sdk.Finding{Text: "there is no such word", Tag: p.Tag, Path: "address"})
				}
			}
			return found
		},
		Open: openLine,
	}
}

// word is the number in an address.
func word(p sdk.Point) int {
	var at struct{ Word int }
	_ = json.Unmarshal(p.Address, &at) // the schema has been checked
	return at.Word
}

type line struct {
	conn   net.Conn
	in     *bufio.Reader
	within time.Duration
	mode   string
}

func openLine(ctx context.Context, c sdk.Config) (sdk.Device, error) {
	var s struct {
		Within string `json:"answer_within"`
		Mode   string
	}
	if err := json.Unmarshal(c.Settings, &s); err != nil {
		return nil, err
	}
	within, err := time.ParseDuration(s.Within)
	if err != nil {
		within = 5 * time.Second
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(c.Endpoint.Host, strconv.Itoa(int(c.Endpoint.Port))))
	if err != nil {
		return nil, sdk.Hint(err, "is the device switched on?")
	}
	return &line{conn: conn, in: bufio.NewReader(conn), within: within, mode: s.Mode}, nil
}

func (l *line) Close() error { return l.conn.Close() }

func (l *line) ask(ctx context.Context, format string, args ...any) (uint64, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Now()) })
	defer stop()
	if err := l.conn.SetDeadline(time.Now().Add(l.within)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(l.conn, format+"\n", args...); err != nil {
		return 0, err
	}
	text, err := l.in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(text), 10, 16)
}

func (l *line) Poll(ctx context.Context, g *sdk.Group) error {
	for i, p := range g.Points {
		n, err := l.ask(ctx, "r %d", word(p))
		if err != nil {
			return err
		}
		g.Set(i, sdk.Uint(n))
	}
	return nil
}

func (l *line) Write(ctx context.Context, p sdk.Point, v sdk.Value) (sdk.Value, error) {
	n, ok := v.Uint()
	if !ok {
		return sdk.Value{}, errors.New("not a word")
	}
	back, err := l.ask(ctx, "w %d %d", word(p), n)
	if err != nil {
		return sdk.Value{}, sdk.Lost(fmt.Errorf("%w: %w", sdk.ErrOutcomeUnknown, err))
	}
	return sdk.Uint(back), nil
}

// words is the device.
type words struct {
	mu     sync.Mutex // guards what follows
	values []uint16
	conns  map[net.Conn]struct{}
	count  int
	hang   bool
	ln     net.Listener // nil while it is away

	addr *net.TCPAddr
	wg   sync.WaitGroup
}

func newWords(t testing.TB, n int) *words {
	d := &words{values: make([]uint16, n), conns: map[net.Conn]struct{}{}}
	d.listen(t, "127.0.0.1:0")
	t.Cleanup(func() { d.stop(); d.wg.Wait() })
	return d
}

func (d *words) listen(t testing.TB, addr string) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the device cannot listen: %v", err)
	}
	d.mu.Lock()
	d.ln, d.addr = ln, ln.Addr().(*net.TCPAddr)
	d.mu.Unlock()
	d.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed by stop
			}
			d.mu.Lock()
			away := d.ln != ln
			if !away {
				d.conns[c] = struct{}{}
				d.count++
			}
			d.mu.Unlock()
			if away {
				_ = c.Close()
				continue
			}
			d.wg.Go(func() { d.serve(c) })
		}
	})
}

func (d *words) serve(c net.Conn) {
	defer c.Close()
	for in := bufio.NewScanner(c); in.Scan(); {
		f := strings.Fields(in.Text())
		i, _ := strconv.Atoi(f[1])
		d.mu.Lock()
		if len(f) == 3 {
			v, _ := strconv.Atoi(f[2])
			d.values[i] = uint16(v)
		}
		answer, silent := d.values[i], d.hang
		d.mu.Unlock()
		if silent {
			continue
		}
		if _, err := fmt.Fprintln(c, answer); err != nil {
			return
		}
	}
}

func (d *words) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ln != nil {
		_ = d.ln.Close()
		d.ln = nil
	}
	for c := range d.conns {
		_ = c.Close()
	}
	clear(d.conns)
}
