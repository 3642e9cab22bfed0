package receiver

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
	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/time/rate"

	"github.com/edge-gateway/edge-gateway/pkg/address"
	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
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
	arrivals, r := make(chan received, inflight), newRoom()
	refused := make(chan error, 1)
	server := withPort(broker.Reveal())
	client, err := connect(ctx, server, &cfg, r, arrivals, newDoorman(&cfg, server, refused))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", broker, err)
	}
	if err = work(ctx, &cfg, decoder, r, arrivals, refused); err != nil {
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
func connect(ctx context.Context, broker *url.URL, cfg *Config, r *room, arrivals chan<- received, door *doorman) (*autopaho.ConnectionManager, error) {
	receive, packet := uint16(inflight), uint32(maxPacket)
	pause := newPauses()
	return autopaho.NewConnection(context.WithoutCancel(ctx), autopaho.ClientConfig{
		AttemptConnection: func(ctx context.Context, _ autopaho.ClientConfig, broker *url.URL) (net.Conn, error) {
			return dial(ctx, cfg, broker, r)
		},
		ServerUrls: []*url.URL{broker}, KeepAlive: 20,
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
		ReconnectBackoff: pause.before,
		OnConnectError:   door.connection,
		ClientConfig: paho.ClientConfig{
			OnClientError: func(err error) { cfg.Log.Warn("the connection to the broker has ended", "error", err) },
			ClientID:      cfg.ClientID, EnableManualAcknowledgment: true, SendAcksInterval: ackEvery,
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

// pauses says how long to wait before an attempt to connect: nothing before the first,
// then from a quarter of a second up to ten, with jitter. A broker that takes us and ends
// the connection at once is waited for too.
type pauses struct{ last time.Time }

func newPauses() *pauses { return new(pauses) }

func (p *pauses) before(attempt int) time.Duration {
	soon := time.Since(p.last) < time.Second
	p.last = time.Now()
	if attempt == 0 && !soon {
		return 0
	}
	return supervise.Delay(250*time.Millisecond, 10*time.Second, max(1, attempt))
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
func work(ctx context.Context, cfg *Config, decoder *Decoder, r *room, arrivals <-chan received, refused <-chan error) error {
	complaints := rate.Sometimes{First: 10, Interval: time.Second}
	for {
		var group []received
		select {
		case <-ctx.Done():
			return nil
		case err := <-refused:
			return err
		case m := <-arrivals:
			group = append(group, m)
		}
		for more := true; more && len(group) < inflight; {
			select {
			case m := <-arrivals:
				group = append(group, m)
			default:
				more = false
			}
		}
		for i := range group {
			if err := take(cfg, decoder, &complaints, &group[i].message); err != nil {
				return err
			}
		}
		if err := cfg.Ledger.Save(); err != nil {
			return err
		}
		for _, m := range group {
			if err := m.ack(); err != nil {
				cfg.Log.Debug("not acknowledged; the broker will send it again", "error", err)
			}
		}
		r.done(len(group))
	}
}

// take enters one message. Complaints about what anybody may publish are few in the log;
// the ledger counts them all.
func take(cfg *Config, decoder *Decoder, complaints *rate.Sometimes, m *Message) error {
	b, err := decoder.Decode(m)
	if errors.Is(err, ErrNotData) {
		return nil
	}
	if err != nil {
		cfg.Ledger.Bad(err)
		complaints.Do(func() { cfg.Log.Warn("message not understood", "error", err) })
		return nil
	}
	fresh := cfg.Ledger.Take(b)
	if cfg.OnFrames == nil || len(fresh) == 0 {
		return nil
	}
	return cfg.OnFrames(b, fresh)
}
