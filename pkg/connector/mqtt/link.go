package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

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

	server  string
	since   time.Time
	watched atomic.Pointer[watching] // see readRetained
}

// connect makes a connection to srv and the MQTT session on it.
func (c *Connector) connect(ctx context.Context, srv server, run step) (*link, error) {
	d := dialer{server: srv, tls: c.config().TLS, secret: c.deps.Secret}
	if !c.session.cleanStart(srv.String(), c.clientID) {
		return c.attach(ctx, &d, run)
	}
	// A broker closes the connection of a session that was wiped before it has
	// forgotten the session, which the connection that follows at once may still
	// meet. Who has one after the last pause is another client.
	var err error
	for _, pause := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond} {
		if err = c.wipe(ctx, &d, run); err != nil {
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var l *link
		if l, err = c.attach(ctx, &d, run); !errors.Is(err, errNotOurs) {
			return l, err
		}
	}
	return nil, err
}

// attach makes a connection and goes on with the session that the server has, or
// begins one.
func (c *Connector) attach(ctx context.Context, d *dialer, run step) (*link, error) {
	nc, err := d.dial(ctx, run)
	if err != nil {
		return nil, err
	}
	l := &link{conn: nc, errs: make(chan error, 1), says: c.session.farewell, inbox: newInbox(), server: d.server.String(), since: time.Now()}
	handling, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.client = paho.NewClient(paho.ClientConfig{
		Conn: l.conn, Session: c.session, PacketTimeout: dialTimeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			return true, c.incoming(l, p.Packet)
		}},
		OnClientError:      l.ended,
		OnServerDisconnect: func(*paho.Disconnect) { l.ended(nil) }, // the session has its reason
	})
	err = run("connect", func() (string, error) {
		packet, err := c.connectPacket()
		if err != nil {
			return "", err
		}
		c.session.expect(d.server.String())
		ack, err := l.client.Connect(ctx, packet)
		if ack != nil && ack.ReasonCode >= 0x80 {
			return "", &refusal{code: ack.ReasonCode, text: ack.Properties.ReasonString}
		}
		return "", err
	})
	if err != nil {
		cancel()
		_ = nc.Close() // paho has closed it in most cases
		return nil, err
	}
	if c.commands != nil {
		l.inbox.work.Go(func() { c.handle(handling, l) })
	}
	return l, nil
}

// wipe ends a session that the server may hold for us and that is not ours any
// more, with a connection of its own: Mosquitto does not persist a session that
// was begun with a clean start, so the one to stay begins without.
func (c *Connector) wipe(ctx context.Context, d *dialer, run step) error {
	nc, err := d.dial(ctx, run)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }() // closed by paho in most cases
	return run("clean start", func() (string, error) {
		client := paho.NewClient(paho.ClientConfig{Conn: nc, PacketTimeout: dialTimeout})
		p := &paho.Connect{ClientID: c.clientID, KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{RequestProblemInfo: true}}
		if err := c.credentials(p); err != nil {
			return "", err
		}
		ack, err := client.Connect(ctx, p)
		if ack != nil && ack.ReasonCode >= 0x80 {
			return "", &refusal{code: ack.ReasonCode, text: ack.Properties.ReasonString}
		}
		if err != nil {
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

// connectPacket returns the CONNECT, with the last will.
func (c *Connector) connectPacket() (*paho.Connect, error) {
	will, err := json.Marshal(c.statusMessage("offline"))
	if err != nil {
		return nil, err
	}
	expiry := uint32(c.config().SessionExpiry.Std() / time.Second)
	receive, packet := uint16(ourReceiveMaximum), uint32(maxPacket)
	p := &paho.Connect{
		ClientID: c.clientID, KeepAlive: uint16(c.config().Keepalive.Std() / time.Second),
		Properties:     &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receive, MaximumPacketSize: &packet, RequestProblemInfo: true},
		WillMessage:    &paho.WillMessage{Topic: c.statusTopic(), Payload: will, QoS: 1, Retain: true},
		WillProperties: &paho.WillProperties{ContentType: "application/json"},
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

// ended takes paho's reason for the end of the connection.
func (l *link) ended(err error) {
	select {
	case l.errs <- err:
	default: // the first one counts
	}
}

// why returns the reason for the end of the connection.
func (l *link) why() error {
	if bye := l.says(); bye != nil {
		return bye
	}
	select {
	case err := <-l.errs:
		if err != nil {
			return fmt.Errorf("connection lost: %w", err)
		}
	case <-time.After(100 * time.Millisecond): // paho reports just after it is done
	}
	return errors.New("connection lost")
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
