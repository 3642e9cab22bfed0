package mqtt

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
	paholog "github.com/eclipse/paho.golang/paho/log"
)

// pinger keeps a connection alive and notices when it is not. It goes by what
// passes through the connection, since the sender writes without paho.
type pinger struct{ conn *conn }

// The bounds of the wait for an answer to a ping: the keep alive, but within these.
const (
	minPingWait = 2 * time.Second
	maxPingWait = 30 * time.Second
)

// noPing says that the broker has not answered a ping.
type noPing struct{ after time.Duration }

// Error says what that may mean.
func (e *noPing) Error() string {
	return fmt.Sprintf("no answer to a ping within %s: the broker hangs, or the network has lost the connection without a word", e.after)
}

// Run pings, and returns an error when an answer is overdue.
func (p pinger) Run(ctx context.Context, _ net.Conn, seconds uint16) error {
	if seconds == 0 {
		return nil
	}
	interval := time.Duration(seconds) * time.Second
	wait := min(max(interval, minPingWait), maxPingWait)
	failed := make(chan error, 1)
	for {
		sent, received := p.conn.activity()
		quiet := time.Since(sent)
		if r := time.Since(received); r > quiet {
			quiet = r // what is only sent may go nowhere
		}
		if !sleep(ctx, interval-quiet) {
			return nil
		}
		if s, r := p.conn.activity(); s != sent || r != received {
			continue
		}
		asked := time.Now()
		go func() { // which ends with the connection
			if _, err := packets.NewControlPacket(packets.PINGREQ).WriteTo(p.conn); err != nil {
				failed <- err
			}
		}()
		if err := p.answer(ctx, asked, wait, failed); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// answer waits for anything to come from the broker.
func (p pinger) answer(ctx context.Context, asked time.Time, wait time.Duration, failed <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("ping: %w", err)
		case <-time.After(min(wait, pingLook)):
		}
		if _, received := p.conn.activity(); received.After(asked) {
			return nil
		}
		if time.Since(asked) >= wait {
			err := &noPing{wait}
			p.conn.fail(err)
			return err
		}
	}
}

// pingLook is how often it is looked for the answer.
const pingLook = 100 * time.Millisecond

// sleep waits, and reports false when ctx has ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// PacketSent is not needed: the connection knows.
func (pinger) PacketSent() {}

// PacketReceived is not needed.
func (pinger) PacketReceived() {}

// PingResp is not needed.
func (pinger) PingResp() {}

// SetDebug is not used.
func (pinger) SetDebug(paholog.Logger) {}
