package consumer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/address"
	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/mqtt311"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// Config is what to consume and from where.
type Config struct {
	Broker   string // mqtt://HOST:PORT, mqtts://…, ws://…, wss://…
	Topic    string // filter
	ClientID string // the broker keeps what it has for this name while we are away
	Username string
	Password string
	TLS      *tls.Config // nil: the system's certificates

	Old           bool          // speak MQTT 3.1.1, over mqtt:// or mqtts://
	QoS           byte          // of the subscription: 0–2
	SessionExpiry time.Duration // 0: nothing is kept while we are away
	Unit          frame.TimestampUnit
	Ledger        *Ledger

	// Refusal ends Run with an error where the broker, or TLS on the way to it, turns down
	// the first connection or the subscription for a reason that trying again does not
	// change. Without it Run goes on trying.
	Refusal  bool
	Settings clienttls.Settings // as errors call them; without a Peer they give no advice

	// OnFrames is given the frames of each message that were not known, before
	// the message is acknowledged; an error ends Run. nil: only count them.
	OnFrames func(b *Batch, fresh []frame.Sample) error
	Log      *slog.Logger
}

// inflight bounds the messages that are received and not acknowledged.
const inflight = 256

// ackEvery is how often acknowledgements are sent.
const ackEvery = 10 * time.Millisecond

// received is a message with the way to acknowledge it.
type received struct {
	message Message
	ack     func() error
}

// Run consumes until ctx ends, which is no error, reconnecting by itself. Each
// message is acknowledged when the ledger that holds it is saved.
func Run(ctx context.Context, cfg Config) error {
	broker, err := address.Parse(cfg.Broker)
	if err != nil || broker.Host() == "" {
		return errors.New("broker: expected a URL such as mqtt://host:1883") // it may hold a password
	}
	decoder, err := NewDecoder(cfg.Unit)
	if err != nil {
		return err
	}
	defer decoder.Close()
	arrivals := make(chan received, inflight)
	refused := make(chan error, 1)
	server := withPort(broker.Reveal())
	client, err := connect(ctx, server, &cfg, arrivals, newDoorman(&cfg, server, refused))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", broker, err)
	}
	if err = work(ctx, &cfg, decoder, arrivals, refused); err != nil {
		err = fmt.Errorf("%s: %w", broker, err)
	}
	time.Sleep(2 * ackEvery) // paho sends acknowledgements at intervals; what it has not sent comes again
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if bye := client.Disconnect(end); bye != nil && ctx.Err() == nil {
		cfg.Log.Warn("disconnected uncleanly", "error", bye)
	}
	return errors.Join(err, cfg.Ledger.Save())
}

// withPort completes the URL of a broker by the port of its scheme.
func withPort(broker *url.URL) *url.URL {
	port := map[string]string{"mqtt": "1883", "tcp": "1883", "mqtts": "8883", "ssl": "8883", "tls": "8883", "ws": "80", "wss": "443"}[broker.Scheme]
	if broker.Port() != "" || port == "" {
		return broker
	}
	u := *broker
	u.Host = net.JoinHostPort(broker.Hostname(), port)
	return &u
}

// connect starts the client, which keeps a subscription up by itself.
func connect(ctx context.Context, broker *url.URL, cfg *Config, arrivals chan<- received, door *doorman) (*autopaho.ConnectionManager, error) {
	receive, packet := uint16(inflight), uint32(maxPayload+1<<18)
	var attempt func(context.Context, autopaho.ClientConfig, *url.URL) (net.Conn, error)
	if cfg.Old {
		attempt = dialOld
	}
	return autopaho.NewConnection(context.WithoutCancel(ctx), autopaho.ClientConfig{
		AttemptConnection: attempt,
		ServerUrls:        []*url.URL{broker}, TlsCfg: cfg.TLS, KeepAlive: 20,
		ConnectUsername: cfg.Username, ConnectPassword: []byte(cfg.Password),
		SessionExpiryInterval: uint32(cfg.SessionExpiry / time.Second), CleanStartOnInitialConnection: cfg.SessionExpiry == 0,
		ConnectPacketBuilder: func(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			if c.Properties == nil { // where the session does not outlive the connection
				c.Properties = &paho.ConnectProperties{}
			}
			c.Properties.ReceiveMaximum, c.Properties.MaximumPacketSize = &receive, &packet
			// Left at its zero value it asks the broker for no problem
			// information, and some then leave out user properties.
			c.Properties.RequestProblemInfo = true
			return c, nil
		},
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			sub := &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: cfg.Topic, QoS: cfg.QoS}}}
			if ack, err := m.Subscribe(ctx, sub); err == nil {
				door.opened()
			} else if ctx.Err() == nil {
				door.subscription(ack, err)
			}
		},
		ReconnectBackoff: backoff,
		OnConnectError:   door.connection,
		ClientConfig: paho.ClientConfig{
			ClientID: cfg.ClientID, EnableManualAcknowledgment: true, SendAcksInterval: ackEvery,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				select {
				case arrivals <- fromPaho(p):
				case <-ctx.Done():
				}
				return true, nil
			}},
		},
	})
}

// dialOld connects to a broker of MQTT 3.1.1.
func dialOld(ctx context.Context, cfg autopaho.ClientConfig, broker *url.URL) (net.Conn, error) {
	encrypted := map[string]bool{"mqtt": false, "tcp": false, "mqtts": true, "tls": true, "ssl": true}
	tlsOn, known := encrypted[broker.Scheme]
	if !known {
		return nil, fmt.Errorf("%s: with MQTT 3.1.1 expected mqtt:// or mqtts://", broker.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{}
	if tlsOn {
		d = &tls.Dialer{Config: cfg.TlsCfg}
	}
	c, err := d.DialContext(ctx, "tcp", broker.Host)
	if err != nil {
		return nil, err
	}
	return packets.NewThreadSafeConn(mqtt311.New(c, maxPayload)), nil
}

// dialTimeout bounds an attempt to connect.
const dialTimeout = 10 * time.Second

// backoff returns how long to wait before an attempt to connect: nothing before the
// first, then from a quarter of a second up to ten, with jitter.
func backoff(attempt int) time.Duration {
	if attempt == 0 {
		return 0
	}
	return supervise.Delay(250*time.Millisecond, 10*time.Second, attempt)
}

// fromPaho copies what a message holds.
func fromPaho(p paho.PublishReceived) received {
	m := Message{Topic: p.Packet.Topic, Payload: p.Packet.Payload, Properties: map[string]string{}, Received: time.Now()}
	if pr := p.Packet.Properties; pr != nil {
		m.ContentType = pr.ContentType
		for _, u := range pr.User {
			m.Properties[u.Key] = u.Value
		}
	}
	return received{message: m, ack: func() error { return p.Client.Ack(p.Packet) }}
}

// work takes messages into the ledger, as many as there are at a time.
func work(ctx context.Context, cfg *Config, decoder *Decoder, arrivals <-chan received, refused <-chan error) error {
	for {
		var group []received
		select {
		case <-ctx.Done():
			return nil
		case err := <-refused:
			return err
		case r := <-arrivals:
			group = append(group, r)
		}
		for more := true; more && len(group) < inflight; {
			select {
			case r := <-arrivals:
				group = append(group, r)
			default:
				more = false
			}
		}
		for i := range group {
			if err := take(cfg, decoder, &group[i].message); err != nil {
				return err
			}
		}
		if err := cfg.Ledger.Save(); err != nil {
			return err
		}
		for _, r := range group {
			if err := r.ack(); err != nil {
				cfg.Log.Debug("not acknowledged; the broker will send it again", "error", err)
			}
		}
	}
}

func take(cfg *Config, decoder *Decoder, m *Message) error {
	b, err := decoder.Decode(m)
	if errors.Is(err, ErrNotData) {
		return nil
	}
	if err != nil {
		cfg.Ledger.Bad(err)
		cfg.Log.Warn("message not understood", "error", err)
		return nil
	}
	fresh := cfg.Ledger.Take(b)
	if cfg.OnFrames == nil || len(fresh) == 0 {
		return nil
	}
	return cfg.OnFrames(b, fresh)
}
