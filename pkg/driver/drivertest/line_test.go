package drivertest_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// line is a driver for a device that understands "r 5\n" and "w 5 42\n" and
// answers with the value. One goroutine, Run's, does all the talking.
type line struct {
	deps    driver.Deps
	polling time.Duration
	asks    chan ask      // from Write and Read to Run
	ended   chan struct{} // closed when Run ends

	mu      sync.Mutex // guards what follows
	running bool
	points  *point.Table
	status  driver.Status
}

// ask is something to be done between polls: done is called on Run's goroutine.
type ask struct {
	request string
	answer  chan<- answer
}

type answer struct {
	value int64
	raw   string
	err   error
}

type lineFactory struct{}

func (lineFactory) Proto() string { return "line" }

func (lineFactory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	if err := checkLine(cfg.Points); err != nil {
		return nil, err
	}
	polling, err := time.ParseDuration(cfg.Item.Cfg["polling"].(string))
	if err != nil {
		return nil, fmt.Errorf("cfg.polling: %w", err)
	}
	return &line{deps: deps, polling: polling, points: cfg.Points, asks: make(chan ask), ended: make(chan struct{}),
		status: driver.Status{State: driver.Stopped, Since: time.Now()}}, nil
}

func checkLine(points *point.Table) error {
	for i := range points.Len() {
		if v := points.Variable(i); v.Datatype != config.TypeUint16 {
			return fmt.Errorf("tag %s: datatype %q, expected uint16", v.Tag, v.Datatype)
		}
	}
	return nil
}

func (l *line) Run(ctx context.Context) error {
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
	l.state(driver.Starting, "")
	defer func() {
		l.mu.Lock()
		l.running = false
		l.mu.Unlock()
		l.state(driver.Stopped, "")
		close(l.ended)
	}()
	ticker := time.NewTicker(l.polling)
	defer ticker.Stop()
	for {
		if err := l.poll(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return nil
			case a := <-l.asks:
				var ans answer
				ans.value, ans.raw, ans.err = l.talk(ctx, a.request)
				a.answer <- ans
			case <-ticker.C:
				due = true
			}
		}
	}
}

// poll reads every readable point and publishes one batch.
func (l *line) poll(ctx context.Context) error {
	l.mu.Lock()
	points := l.points
	l.mu.Unlock()
	values := make([]frame.Value, points.Len())
	var failed error
	for i := range values {
		v := points.Variable(i)
		if !v.Access.Readable() {
			continue
		}
		n, _, err := l.talk(ctx, fmt.Sprintf("r %d", v.Address.Addr))
		if err != nil {
			failed = err
			break
		}
		values[i] = frame.IntValue(n)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := time.Now()
	batch := points.Begin(len(values))
	for i, v := range values {
		switch {
		case !points.Variable(i).Access.Readable():
		case failed != nil:
			points.Lost(batch, i, now.UnixNano())
		default:
			points.Observe(batch, i, v, frame.Good, now.UnixNano())
		}
	}
	batch = points.End(batch)
	if failed != nil {
		l.state(driver.Fault, failed.Error())
	} else {
		l.state(driver.Running, "")
	}
	if batch == nil {
		return nil
	}
	return l.deps.Out.Publish(ctx, batch)
}

// state records what the last poll came to.
func (l *line) state(s driver.State, fault string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if s != l.status.State {
		l.status.State, l.status.Since = s, now
	}
	l.status.Error = fault
	switch s {
	case driver.Running:
		l.status.Polls++
		l.status.LastRead = now
		if l.status.FirstRead.IsZero() {
			l.status.FirstRead = now
		}
	case driver.Fault:
		l.status.Errors++
	}
}

// talk sends one request and returns the number that the device answers.
func (l *line) talk(ctx context.Context, request string) (n int64, raw string, err error) {
	lease, err := l.deps.Endpoint.Acquire(ctx)
	if err != nil {
		return 0, "", err
	}
	defer func() { lease.Release(err) }()
	stop := context.AfterFunc(ctx, func() { _ = lease.SetDeadline(time.Now()) }) // fails only if it is closed
	defer stop()
	if err := lease.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return 0, "", err
	}
	if _, err := fmt.Fprintln(lease, request); err != nil {
		return 0, "", err
	}
	raw, err = bufio.NewReader(lease).ReadString('\n')
	if err != nil {
		return 0, "", err
	}
	n, err = strconv.ParseInt(strings.TrimSpace(raw), 10, 64)
	return n, raw, err
}

func (l *line) Update(points *point.Table) error {
	if err := checkLine(points); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.points = points
	return nil
}

// between has request done by Run.
func (l *line) between(ctx context.Context, request string) (answer, error) {
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	if !running {
		return answer{}, driver.ErrNotRunning
	}
	reply := make(chan answer, 1)
	select {
	case l.asks <- ask{request, reply}:
	case <-l.ended:
		return answer{}, driver.ErrNotRunning
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	select {
	case a := <-reply:
		return a, a.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// find returns the table in use and the index of tag in it.
func (l *line) find(tag string) (*point.Table, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.points.Index(tag)
	if !ok {
		return nil, 0, fmt.Errorf("tag %s: %w", tag, driver.ErrUnknownTag)
	}
	return l.points, i, nil
}

func (l *line) Write(ctx context.Context, w driver.Write) (driver.WriteResult, error) {
	points, i, err := l.find(w.Tag)
	if err != nil {
		return driver.WriteResult{}, err
	}
	v := points.Variable(i)
	if !v.Access.Writable() {
		return driver.WriteResult{}, fmt.Errorf("tag %s: %w: its access is %s", w.Tag, driver.ErrAccess, v.Access)
	}
	raw, err := points.Invert(i, w.Value)
	if err != nil {
		return driver.WriteResult{}, err
	}
	a, err := l.between(ctx, fmt.Sprintf("w %d %d", v.Address.Addr, raw.Int()))
	if err != nil {
		return driver.WriteResult{}, fmt.Errorf("write tag %s: %w", w.Tag, err)
	}
	back, _ := points.Scale(i, frame.IntValue(a.value))
	return driver.WriteResult{ReadBack: back, TS: time.Now().UnixNano()}, nil
}

func (l *line) Read(ctx context.Context, tag string) (driver.Reading, error) {
	points, i, err := l.find(tag)
	if err != nil {
		return driver.Reading{}, err
	}
	v := points.Variable(i)
	if !v.Access.Readable() {
		return driver.Reading{}, fmt.Errorf("tag %s: %w: its access is %s", tag, driver.ErrAccess, v.Access)
	}
	a, err := l.between(ctx, fmt.Sprintf("r %d", v.Address.Addr))
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read tag %s: %w", tag, err)
	}
	value, q := points.Scale(i, frame.IntValue(a.value))
	return driver.Reading{Raw: []byte(a.raw), Value: value, Quality: q, TS: time.Now().UnixNano()}, nil
}

func (l *line) Status() driver.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// pool is an endpoint of at most one connection.
type pool struct {
	addr string
	turn chan net.Conn // holds the idle connection, or nil for none
}

func (p *pool) Acquire(ctx context.Context) (endpoint.Lease, error) {
	var c net.Conn
	select {
	case c = <-p.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c == nil {
		var d net.Dialer
		var err error
		if c, err = d.DialContext(ctx, "tcp", p.addr); err != nil {
			p.turn <- nil
			return nil, err
		}
	}
	return lease{c, p}, nil
}

type lease struct {
	net.Conn
	pool *pool
}

func (l lease) Release(err error) {
	if err == nil {
		l.pool.turn <- l.Conn
		return
	}
	_ = l.Close() // it is broken already
	l.pool.turn <- nil
}
