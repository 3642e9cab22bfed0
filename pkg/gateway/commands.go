package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// commandTimeout bounds one read on demand, and writeTimeout one write, their wait
// behind others included. A write may take the driver's longest write_timeout (20s)
// and has to be looked at afterwards.
const (
	commandTimeout = 10 * time.Second
	writeTimeout   = 28 * time.Second
)

// commander executes commands that come from connectors and from the admin
// socket.
type commander struct {
	bus     *bus.Bus
	drivers *driver.Manager
	booted  <-chan struct{} // closed when the first configuration runs
	started time.Time
}

// Log implements [connector.Commander]. What waited at the broker comes before the tags are
// known. It waits there: its record names the driver, and nothing is acknowledged that the
// gateway can't execute yet. A gateway that finds no configuration answers in the end.
func (c *commander) Log(ctx context.Context, cmd frame.Command) error {
	select {
	case <-c.booted:
	case <-ctx.Done():
		return fmt.Errorf("log command %s: %w", cmd.ID, ctx.Err())
	case <-time.After(time.Until(c.started.Add(writeTimeout))):
	}
	driverID := ""
	if tag, ok := c.drivers.Tag(cmd.Tag); ok {
		driverID = tag.Driver
	}
	f := frame.Frame{Value: cmd.Value, TS: cmd.Received.UnixNano(), Quality: frame.Good}
	if err := c.bus.PublishSync(ctx, frame.Single(frame.Cmd, driverID, frame.Tag{Name: cmd.Tag}, f)); err != nil {
		return fmt.Errorf("log command %s: %w", cmd.ID, err)
	}
	return nil
}

// Execute implements [connector.Commander].
func (c *commander) Execute(ctx context.Context, cmd frame.Command) frame.CommandResult {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	select { // one of an earlier run comes before the tags are known
	case <-c.booted:
	case <-ctx.Done():
		return frame.CommandResult{Reason: "not executed: no configuration runs yet; see edge-ctl status"}
	}
	if !cmd.Expires.IsZero() && time.Now().After(cmd.Expires) {
		return frame.CommandResult{Reason: fmt.Sprintf("expired at %s, not executed", cmd.Expires.UTC().Format(time.RFC3339Nano))}
	}
	res, err := c.drivers.Write(ctx, driver.Write{Tag: cmd.Tag, Value: cmd.Value})
	if err != nil {
		return frame.CommandResult{Reason: err.Error(), Unknown: errors.Is(err, driver.ErrOutcomeUnknown)}
	}
	return frame.CommandResult{OK: true, Reason: res.Note, ReadBack: res.ReadBack, TS: res.TS}
}

// ReadBack implements [connector.Commander].
func (c *commander) ReadBack(ctx context.Context, tag string) (frame.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	r, err := c.drivers.Read(ctx, tag)
	if err != nil {
		return frame.Value{}, err
	}
	if r.Quality == frame.Bad {
		return frame.Value{}, errors.New("the device answered, but the value is bad")
	}
	return r.Value, nil
}

// typedValue converts what a person typed into a value of the tag's type.
func typedValue(v *config.Variable, text string) (frame.Value, error) {
	if v.Datatype.Text() {
		return frame.StringValue(text), nil
	}
	if strings.HasPrefix(text, "[") {
		return frame.ParseJSONValue([]byte(text)) // an array, if the tag is one
	}
	switch v.Datatype {
	case config.TypeBinary:
		return frame.BytesValue([]byte(text)), nil
	case config.TypeBool:
		switch text {
		case "true", "on", "1":
			return frame.BoolValue(true), nil
		case "false", "off", "0":
			return frame.BoolValue(false), nil
		}
		return frame.Value{}, fmt.Errorf("value %q for tag %s: expected true or false", text, v.Tag)
	}
	n, err := number.Parse(text)
	if err != nil {
		return frame.Value{}, fmt.Errorf("value %q for tag %s: expected a number: %w", text, v.Tag, err)
	}
	switch n := n.(type) {
	case int64:
		return frame.IntValue(n), nil
	case uint64:
		return frame.UintValue(n), nil
	}
	return frame.FloatValue(n.(float64)), nil
}
