// Package counter shows what a protocol is to the gateway: one package that exports one
// [driver.Protocol], and one line in package protocols.
//
// The protocol is made up. A device has named counters; over TCP it answers "NAME\n"
// with the counter in decimal, or with "?". A variable names the counter as its node:
//
//   - {tag: line1.parts, driver_id: line1, access: R, address: {node: parts}, datatype: uint64}
package counter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Protocol is all that lint, the gateway and the commands take.
func Protocol() driver.Protocol {
	return driver.Protocol{
		Name:    "counter",
		Schemes: []string{"counter"},
		Transport: func(item config.Endpoint) (config.Endpoint, bool) {
			own := item.Scheme == "counter"
			if own {
				item.Scheme = "tcp"
			}
			return item, own
		},
		New:   func(driver.Host) (driver.Factory, error) { return factory{}, nil },
		Check: check,
		Probe: &driver.Ability{
			Help:    "Of a device with counters (counter://HOST:PORT) it shows the counter --counter.",
			Example: "  edge-ctl probe counter://192.168.10.5:4000 --counter parts",
			Options: []driver.Option{{Name: "counter", Type: "string", Default: "parts", Usage: "the counter's name"}},
			Columns: []driver.Column{{Name: "COUNTER"}, {Name: "VALUE", Right: true}},
			Run:     probe,
		},
	}
}

// probe asks for one counter. It is all that edge-ctl probe and the gateway need.
func probe(ctx context.Context, to driver.Target, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	lease, err := to.Endpoint.Acquire(ctx)
	if err != nil {
		return r, fmt.Errorf("connect: %w", err)
	}
	name, began := a.Get("counter", "parts"), time.Now()
	v, q, err := ask(lease, bufio.NewReader(lease), name)
	lease.Release(err)
	if err != nil {
		return r, err
	}
	r.Steps = []driver.Step{{Name: "answer", Took: time.Since(began), Text: v.String()}}
	if q != frame.Good {
		r.Failure = fmt.Sprintf("the device has no counter %q", name)
	} else if err := emit(driver.Event{Item: &driver.Item{Cells: []string{name, v.String()}}}); err != nil {
		return r, err
	}
	r.Document, err = driver.Document(struct {
		Counter string `json:"counter"`
		Value   uint64 `json:"value"`
	}{name, v.Uint()})
	return r, err
}

// polling reads cfg.polling, the only setting. (A real protocol has a schema,
// schemas/drivers/NAME.schema.json, and reads it with [config.Decode].)
func polling(cfg map[string]any) (time.Duration, error) {
	text, _ := cfg["polling"].(string)
	d, err := config.ParseDuration(text)
	if err != nil || d < config.Duration(time.Millisecond) {
		return 0, config.FieldErrorf("cfg.polling", "%q, expected a duration such as 1s", text)
	}
	return d.Std(), nil
}

// check is what lint says beyond the tables' schemas.
func check(d *driver.Setup, found driver.Findings) {
	_, err := polling(d.Item.Cfg)
	for _, e := range config.FieldErrors(err) {
		found.Errorf(config.Drivers, d.ID, e.Path, "counter-cfg", "%v", e)
	}
	for i := range d.Variables {
		v := &d.Variables[i]
		if v.Address.Node == "" {
			found.Errorf(config.Variables, v.Tag, []string{"address"}, "counter-address", "address: expected node, the name of a counter")
		}
		if v.Access.Writable() {
			found.Errorf(config.Variables, v.Tag, []string{"access"}, "counter-address", "access: %s, but counters can only be read", v.Access)
		}
	}
}

type factory struct{}

// Proto implements [driver.Factory].
func (factory) Proto() string { return Protocol().Name }

// New implements [driver.Factory].
func (factory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	every, err := polling(cfg.Item.Cfg)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", cfg.ID, err)
	}
	c := &counters{Account: driver.NewAccount(), deps: deps, every: every, tables: driver.NewPlans[*point.Table]()}
	return c, c.Update(cfg.Points)
}

// counters implements [driver.Driver]. Its account has the status.
type counters struct {
	*driver.Account
	deps   driver.Deps
	every  time.Duration
	tables *driver.Plans[*point.Table]
}

// timeout is how long an answer may take.
const timeout = time.Second

// Run implements [driver.Driver].
func (c *counters) Run(ctx context.Context) error {
	return c.Publishing(ctx, c.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		next := time.NewTimer(0)
		defer next.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			began := time.Now()
			batch, err := c.poll(ctx)
			c.tell(began, err)
			if batch != nil {
				select {
				case out <- batch:
				case <-ctx.Done():
				}
			}
			next.Reset(c.every)
		}
	})
}

// tell says how a poll ended.
func (c *counters) tell(began time.Time, err error) {
	now := time.Now()
	if err == nil {
		c.Answered(now, now.Sub(began))
		c.Recovered()
		return
	}
	c.Failed(now, 1, 0)
	c.SetError(now, err.Error())
	c.SetState(driver.Fault)
	c.SetAway(driver.Reason{Text: err.Error(), Hint: "check host and port"})
}

// poll asks for every counter. What was not answered is lost, once.
func (c *counters) poll(ctx context.Context) (*frame.Batch, error) {
	table := c.tables.Newest()
	b := table.Begin(table.Len())
	lease, err := c.deps.Endpoint.Acquire(ctx)
	if err == nil {
		defer func() { lease.Release(err) }()
	}
	in := bufio.NewReader(lease)
	for i := range table.Len() {
		var v frame.Value
		q := frame.Good
		if err == nil {
			v, q, err = ask(lease, in, table.Variable(i).Address.Node)
		}
		if err != nil {
			table.Lost(b, i, time.Now().UnixNano())
			continue
		}
		table.Observe(b, i, v, q, time.Now().UnixNano())
	}
	return table.End(b), err
}

// ask asks for one counter. A device that does not know it has answered all the same.
func ask(conn net.Conn, in *bufio.Reader, name string) (frame.Value, frame.Quality, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return frame.Value{}, frame.Bad, err
	}
	if _, err := fmt.Fprintln(conn, name); err != nil {
		return frame.Value{}, frame.Bad, err
	}
	line, err := in.ReadString('\n')
	if err != nil {
		return frame.Value{}, frame.Bad, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return frame.Value{}, frame.Bad, nil
	}
	return frame.UintValue(n), frame.Good, nil
}

// Update implements [driver.Driver].
func (c *counters) Update(points *point.Table) error {
	c.tables.Set(points)
	return nil
}

// errReadOnly is why nothing is written.
var errReadOnly = errors.New("counters can only be read")

// Write implements [driver.Driver].
func (c *counters) Write(context.Context, driver.Write) (driver.WriteResult, error) {
	return driver.WriteResult{}, fmt.Errorf("%w: %w", driver.ErrAccess, errReadOnly)
}

// Read implements [driver.Driver].
func (c *counters) Read(ctx context.Context, tag string) (driver.Reading, error) {
	table := c.tables.Newest()
	i, err := driver.Readable(table, tag)
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	lease, err := c.deps.Endpoint.Acquire(ctx)
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	v, q, err := ask(lease, bufio.NewReader(lease), table.Variable(i).Address.Node)
	lease.Release(err)
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	r := driver.Reading{Raw: []byte(v.String()), TS: time.Now().UnixNano()}
	if r.Value, r.Quality = table.Scale(i, v); q > r.Quality {
		r.Quality = q
	}
	return r, nil
}
