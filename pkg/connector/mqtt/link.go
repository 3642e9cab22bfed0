package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// link is one connection to a broker, with paho's client on it.
type link struct {
	conn   *conn
	client *paho.Client
	errs   chan error // capacity 1: paho's reason for the end
	says   func() *refusal
	inbox  *inbox
	cancel context.CancelFunc // ends the handling of commands

	server string
	since  time.Time
	will   willMode // what CONNECT held of the last will
	old    bool     // it speaks MQTT 3.1.1

	watching sync.Mutex
	readings []*reading // of what the broker keeps
}

// connect makes a connection to srv and the MQTT session on it. In most cases that
// is one CONNECT, and brokers that allow no second one within a second take it.
// Where the broker has a session under our client id that is not the one of the
// records, attach ends it, and there is a second. Some brokers keep it all the
// same; then a clean start ends it, on a connection of its own: Mosquitto does not
// persist a session that was begun with a clean start, so the one to stay begins
// without. A session that is there once more is another client's.
func (c *Connector) connect(ctx context.Context, srv server, run step) (*link, error) {
	t := c.termsOf(srv)
	t.renew(time.Now())
	d := c.dialer(srv, t)
	l, err := c.attach(ctx, d, run)
	if isVersion(err) && t.next().old != d.old { // it said so: no need to wait for the next round
		if err := c.pauseBetween(ctx); err != nil {
			return nil, err
		}
		d = c.dialer(srv, t)
		l, err = c.attach(ctx, d, run)
	}
	for try := 0; errors.Is(err, errNotOurs) && try < 2; try++ {
		if try > 0 {
			if err := c.pauseBetween(ctx); err != nil {
				return nil, err
			}
			if err := c.wipe(ctx, d, run); err != nil {
				return nil, err
			}
		}
		if err := c.pauseBetween(ctx); err != nil {
			return nil, err
		}
		l, err = c.attach(ctx, d, run)
	}
	return l, err
}

// isVersion reports whether a broker does not speak the version of a CONNECT.
func isVersion(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == codeVersion
}

// pauseBetween waits between two CONNECTs of one attempt.
func (c *Connector) pauseBetween(ctx context.Context) error {
	if !sleep(ctx, pause(connectGap, 0)) {
		return context.Cause(ctx)
	}
	return nil
}

func (c *Connector) dialer(srv server, t *terms) *dialer {
	cfg := c.config()
	return &dialer{server: srv, tls: cfg.TLS, secret: c.deps.Secret, old: t.next().old, proxy: cfg.Proxy, headers: cfg.Headers,
		certified: func(end time.Time) { c.metrics.certificate.WithLabelValues(c.name).Set(float64(end.Unix())) }}
}

// termsOf returns what is known of a server.
func (c *Connector) termsOf(srv server) *terms {
	t := c.terms[srv.String()]
	if t == nil {
		t = newTerms(c.config())
		c.terms[srv.String()] = t
	}
	return t
}

// attach makes a connection and goes on with the session that the server has, or
// begins one.
func (c *Connector) attach(ctx context.Context, d *dialer, run step) (*link, error) {
	l := &link{errs: make(chan error, 1), says: c.session.farewell, inbox: newInbox(), server: d.server.String(), since: time.Now()}
	handling, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	terms := c.termsOf(d.server)
	l.will, l.old = terms.next().will, d.old
	v := &visit{dialer: d, run: run, name: connectStep, client: paho.ClientConfig{
		Session: c.session,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			return true, c.incoming(l, p.Packet)
		}},
		OnClientError:      l.ended,
		OnServerDisconnect: func(*paho.Disconnect) { l.ended(nil) }, // the session has its reason
	}}
	err := v.pay(ctx, func(nc *conn, client *paho.Client) (string, error) {
		l.conn, l.client = nc, client
		packet, err := c.connectPacket(c.clientID, terms)
		if err != nil {
			return "", err
		}
		c.session.expect(d.server.String())
		_, err = call(ctx, client, nc, packet)
		return "", err
	})
	if err != nil {
		cancel()
		if v.arrived {
			terms.refused(err)
		}
		return nil, err
	}
	if c.commands != nil {
		l.inbox.work.Go(func() { c.handle(handling, l) })
	}
	return l, nil
}

// visit is a connection to a server for the sake of a CONNECT.
type visit struct {
	dialer  *dialer
	run     step
	name    string            // of the step in which the CONNECT goes out
	client  paho.ClientConfig // pay fills in what all have alike
	arrived bool              // there was a connection for it
}

// pay makes the connection, has greet send the CONNECT over it, and closes it if that fails.
func (v *visit) pay(ctx context.Context, greet func(*conn, *paho.Client) (detail string, err error)) error {
	nc, err := v.dialer.dial(ctx, v.run)
	if err != nil {
		return err
	}
	v.arrived = true
	v.client.Conn, v.client.PacketTimeout, v.client.PingHandler = nc, dialTimeout, pinger{nc}
	client := paho.NewClient(v.client)
	err = v.run(v.name, func() (string, error) { return greet(nc, client) })
	if err != nil {
		_ = nc.Close() // paho has closed it in most cases
	}
	return err
}

// call sends a CONNECT and returns the CONNACK, or why there is none.
func call(ctx context.Context, client *paho.Client, nc *conn, p *paho.Connect) (*paho.Connack, error) {
	ack, err := client.Connect(ctx, p)
	if ack != nil && ack.ReasonCode >= 0x80 {
		return nil, refusedConnect(ack)
	}
	if err == nil || ctx.Err() != nil || ack != nil {
		return ack, err // with a CONNACK the error is the session's
	}
	switch why := nc.why(); {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, errNoAnswer
	case errors.Is(why, errHungUp):
		return nil, fmt.Errorf("%w (%w)", errUnanswered, err)
	case why != nil:
		return nil, why
	}
	return nil, fmt.Errorf("%w: the broker may not speak MQTT 5; see version", err)
}

// errNoAnswer says that a server has taken CONNECT and is silent.
var errNoAnswer = fmt.Errorf("no answer to CONNECT within %s: the broker hangs, or this port is for encrypted connections (mqtts://)", dialTimeout)

// wipe ends a session that the server holds for us and that is not ours, with a
// connection of its own.
func (c *Connector) wipe(ctx context.Context, d *dialer, run step) error {
	v := &visit{dialer: d, run: run, name: "clean start"}
	return v.pay(ctx, func(nc *conn, client *paho.Client) (string, error) {
		p := &paho.Connect{ClientID: c.clientID, KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{RequestProblemInfo: true}}
		if err := c.credentials(p); err != nil {
			return "", err
		}
		if _, err := call(ctx, client, nc, p); err != nil {
			return "", err
		}
		return "", leave(ctx, client, nc)
	})
}

// leave says goodbye and lets the broker close the connection, which it does when
// it has ended the session: whoever connected before that could still find it.
func leave(ctx context.Context, client *paho.Client, nc *conn) error {
	if _, err := (&paho.Disconnect{}).Packet().WriteTo(nc); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-client.Done():
	case <-time.After(leaveTime): // a broker that leaves it to us
	}
	err := ctx.Err()
	_ = nc.Close() // the session has ended
	<-client.Done()
	return err
}

// leaveTime is how long a broker has to close a connection that is left.
const leaveTime = time.Second

// connectPacket returns the CONNECT, with as much of the last will as the server
// takes.
func (c *Connector) connectPacket(clientID string, t *terms) (*paho.Connect, error) {
	cfg := c.config()
	expiry := uint32(cfg.SessionExpiry.Std() / time.Second)
	receive, packet := uint16(ourReceiveMaximum), uint32(maxPacket)
	p := &paho.Connect{
		ClientID: clientID, KeepAlive: uint16(cfg.Keepalive.Std() / time.Second),
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receive, MaximumPacketSize: &packet, RequestProblemInfo: true},
	}
	if mode := t.next().will; mode != willNone {
		will, err := json.Marshal(c.statusMessage("offline"))
		if err != nil {
			return nil, err
		}
		p.WillMessage = &paho.WillMessage{Topic: c.statusTopic(), Payload: will, QoS: 1, Retain: cfg.Status.Retain && mode == willWhole}
		if t.qos0 {
			p.WillMessage.QoS = 0
		}
		p.WillProperties = &paho.WillProperties{ContentType: "application/json"}
	}
	return p, c.credentials(p)
}

// credentials fills in user name and password.
func (c *Connector) credentials(p *paho.Connect) error {
	user, err := c.deps.Secret(c.config().Username)
	if err != nil {
		return fmt.Errorf("username: %w", err)
	}
	password, err := c.deps.Secret(c.config().Password)
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	p.Username, p.UsernameFlag = user, user != ""
	p.Password, p.PasswordFlag = []byte(password), password != ""
	return nil
}

// ended takes a reason for the end of the connection.
func (l *link) ended(err error) {
	l.conn.fail(err)
	select {
	case l.errs <- err:
	default: // the first one counts
	}
}

// why returns the reason for the end of the connection.
func (l *link) why() error {
	if l.says() == nil && l.conn.why() == nil {
		select {
		case <-l.errs: //nolint:errcheck // conn.why has it by now
		case <-time.After(100 * time.Millisecond): // paho reports just after it is done
		}
	}
	if bye := l.says(); bye != nil {
		return bye
	}
	if err := l.conn.why(); err != nil {
		return fmt.Errorf("connection lost: %w", err)
	}
	return errors.New("connection lost")
}

// settle gives what the broker may have said before it closed the connection a
// moment to be read, when a write has failed.
func (l *link) settle(err error) {
	if err == nil || l.conn.why() == nil {
		return
	}
	select {
	case <-l.client.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

// interrupt ends whatever waits for the network: by closing the connection, or,
// if a farewell is still to be said, by giving a write that is under way a last
// moment.
func (l *link) interrupt(gently bool) {
	l.cancel()
	l.conn.endWrites(farewellTime)
	if !gently {
		_ = l.conn.Close() // it is given up anyway
	}
}

// farewellTime is what a broker that takes nothing has left to take a write under
// way and the farewell.
const farewellTime = 200 * time.Millisecond

// close ends the connection and waits for paho's goroutines. The broker is told
// to publish the last will: a gateway that was stopped is offline too.
func (l *link) close(farewell bool) {
	l.cancel()
	if farewell {
		_ = l.client.Disconnect(&paho.Disconnect{ReasonCode: codeDisconnectWill}) // the session survives without it
	}
	_ = l.conn.Close() // closed by Disconnect, or given up
	<-l.client.Done()
	l.inbox.work.Wait()
}

// isTimeout reports whether the other side did not answer in time.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// giveUpSession ends the session that the broker has for us along with the
// connection, if w is one, and lets the broker close it: whoever connected before
// that could still find the session.
func giveUpSession(w io.Writer) {
	never := uint32(0)
	bye := packets.Disconnect{Properties: &packets.Properties{SessionExpiryInterval: &never}}
	nc, ok := w.(*conn)
	if _, err := bye.WriteTo(w); err != nil || !ok {
		return // the next connection finds it again
	}
	if nc.SetReadDeadline(time.Now().Add(leaveTime)) == nil {
		_, _ = io.Copy(io.Discard, nc.r) // until it is closed; what comes is not ours
	}
}
