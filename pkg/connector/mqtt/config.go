package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/address"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Config is a connector of kind mqtt5 as gateway.yml writes it; its schema is
// schemas/connectors/mqtt5.schema.json. Topics may hold {gateway}, {tenant} and
// {device}; the data's topic {driver} and {tag} too.
type Config struct {
	Kind     string `json:"kind"`
	Version  option `json:"version"`  // of MQTT: 5, 3.1.1 or auto
	Endpoint string `json:"endpoint"` // one or more brokers, with commas between; the first that answers is used
	ClientID string `json:"client_id"`
	Username string `json:"username"`
	Password string `json:"password"`

	Topic   string `json:"topic"`
	Filter  Filter `json:"filter"`
	QoS     byte   `json:"qos"`
	Lower   bool   `json:"lower_qos"` // where the broker does not take qos
	Payload string `json:"payload"`
	// Envelope is whether a payload says itself what the user properties say:
	// true, false or auto, which is where there are none.
	Envelope option `json:"envelope"`

	MaxFrames   int             `json:"max_frames"`   // waiting frames that send a message
	MaxBytes    config.Size     `json:"max_bytes"`    // of a payload before compression
	MaxInterval config.Duration `json:"max_interval"` // a lone frame waits no longer

	OnRefused string `json:"on_refused"` // what becomes of a message that the broker refuses

	Keepalive     config.Duration `json:"keepalive"`
	SessionExpiry config.Duration `json:"session_expiry"`
	Backoff       Backoff         `json:"backoff"`

	LiveFirst     bool   `json:"live_first"`
	Backlog       Limits `json:"backlog"`
	TimestampUnit string `json:"timestamp_unit"`
	Start         string `json:"start"`
	RenameFrom    string `json:"rename_from"` // the gateway's business

	RetainTopics []string `json:"retain_topics"` // filters; {gateway}, {tenant} and {device} are replaced

	// MessageExpiry is how long the broker keeps a message for a subscriber that is
	// away; 0: without end.
	MessageExpiry config.Duration `json:"message_expiry"`

	Proxy   string            `json:"proxy"`      // http:// or socks5://, by way of which the broker is reached
	Headers map[string]string `json:"ws_headers"` // of the request that opens a WebSocket

	FollowRedirect bool `json:"follow_redirect"` // go where the broker sends us (0x9C, 0x9D)

	TLS      TLS         `json:"tls"`
	Status   StatusTopic `json:"status"`
	Commands Commands    `json:"commands"`
}

// Filter says which frames are delivered; the gateway's own always are.
type Filter struct {
	Tags    []string `json:"tags,omitempty"`    // globs
	Drivers []string `json:"drivers,omitempty"` // globs
}

// matcher returns nil for a filter that everything passes.
func (f Filter) matcher() (*frame.Matcher, error) {
	if len(f.Tags) == 0 && len(f.Drivers) == 0 {
		return nil, nil
	}
	return frame.Filter{Tags: f.Tags, Drivers: f.Drivers}.Compile()
}

// text is the filter as it is stored with a message; "" is none.
func (f Filter) text() string {
	if len(f.Tags) == 0 && len(f.Drivers) == 0 {
		return ""
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // of plain text
	}
	return string(text)
}

// Limits are rates, such as 64K/s, that a backlog is sent with at most; "" is none.
type Limits struct {
	MaxRate     string `json:"max_rate"`     // bytes of payload
	MaxMessages string `json:"max_messages"` // messages
}

// allowance reads the rates.
func (l *Limits) allowance() (a allowance, err error) {
	if a.bytes, err = parseSpeed(l.MaxRate, 1<<40); err != nil {
		return a, fmt.Errorf("backlog.max_rate: %w", err)
	}
	if a.messages, err = parseSpeed(l.MaxMessages, math.MaxInt32); err != nil {
		return a, fmt.Errorf("backlog.max_messages: %w", err)
	}
	return a, nil
}

// StatusTopic is where a gateway says that it is online, and the broker that it is
// not any more, with the last will.
type StatusTopic struct {
	Enable bool   `json:"enable"`
	Topic  string `json:"topic"`
	Retain bool   `json:"retain"`
}

// Backoff is how long to wait between attempts: Base at first, then twice as
// long each time up to Max, with jitter.
type Backoff struct {
	Base config.Duration `json:"base"`
	Max  config.Duration `json:"max"`
}

// TLS holds certificates and a key: PEM text by way of a secret reference, or
// the path of a file.
type TLS struct {
	CA         string `json:"ca"`
	ClientCert string `json:"client_cert"`
	ClientKey  string `json:"client_key"`

	ClientKeyPassword string `json:"client_key_password"` // of an encrypted key

	ServerName string   `json:"server_name"` // in the broker's certificate; the endpoint's host when empty
	ALPN       []string `json:"alpn"`        // names of the protocol that are offered
}

// Commands is what may come down from the broker.
type Commands struct {
	Enable bool            `json:"enable"`
	Topic  string          `json:"topic"`
	Reply  string          `json:"reply"`
	Allow  []string        `json:"allow"` // globs of tags; none allows nothing
	Rate   string          `json:"rate"`  // "10/s"
	Dedup  config.Duration `json:"dedup"`

	// ReplyBelow are the topics below which a command may ask for its answer; none
	// stands for Reply alone.
	ReplyBelow []string `json:"reply_below"`
}

// option is a word that YAML may take for a number or a boolean.
type option string

// UnmarshalText takes any scalar as it is written.
func (o *option) UnmarshalText(text []byte) error {
	*o = option(text)
	return nil
}

// The versions of MQTT.
const (
	version5    = "5"
	version311  = "3.1.1"
	versionAuto = "auto"
)

// The payload encodings.
const (
	payloadJSON         = "json"
	payloadJSONZstd     = "json+zstd"
	payloadProtobuf     = "protobuf"
	payloadProtobufZstd = "protobuf+zstd"
)

// What becomes of a message that the broker refuses.
const (
	refusedWaits = "wait"
	refusedParks = "park"
)

// decodeConfig reads a configuration as its schema describes it, and checks what a
// schema can't say.
func decodeConfig(cfg map[string]any) (Config, error) {
	c, err := config.Decode[Config]("connectors/mqtt5", cfg)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return *c, c.check()
}

// check returns what is wrong with the first wrong field.
func (c *Config) check() error {
	if _, err := parseEndpoints(c.Endpoint); err != nil {
		return err
	}
	if _, err := parseProxy(c.Proxy); err != nil {
		return err
	}
	if err := checkTopic("topic", c.Topic, "gateway", "tenant", "device", "driver", "tag"); err != nil {
		return err
	}
	if err := checkTopic("status.topic", c.Status.Topic, "gateway", "tenant", "device"); err != nil {
		return err
	}
	if _, err := c.Filter.matcher(); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if _, err := c.Backlog.allowance(); err != nil {
		return err
	}
	for _, filter := range c.RetainTopics {
		if err := checkPlaceholders("retain_topics", filter, "gateway", "tenant", "device"); err != nil {
			return err
		}
	}
	switch d := c.MessageExpiry.Std(); {
	case d != 0 && d < time.Second:
		return fmt.Errorf("message_expiry: expected 0s or at least 1s, got %s", c.MessageExpiry)
	case c.Backoff.Base > c.Backoff.Max:
		return fmt.Errorf("backoff.base: %s is more than backoff.max, which is %s", c.Backoff.Base, c.Backoff.Max)
	case (c.TLS.ClientCert == "") != (c.TLS.ClientKey == ""):
		return errors.New("tls: client_cert and client_key go together: set both or none")
	}
	return c.Commands.check()
}

func (c *Commands) check() error {
	if _, err := parseSpeed(c.Rate, math.MaxInt32); err != nil {
		return fmt.Errorf("commands.rate: %w", err)
	}
	for _, glob := range c.Allow {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("commands.allow: %q is not a glob: %w", glob, err)
		}
	}
	if err := checkPlaceholders("commands.topic", c.Topic, "gateway", "tenant", "device"); err != nil {
		return err
	}
	for _, topic := range c.ReplyBelow {
		if err := checkTopic("commands.reply_below", topic, "gateway", "tenant", "device"); err != nil {
			return err
		}
	}
	return checkTopic("commands.reply", c.Reply, "gateway", "tenant", "device")
}

// server is one address of a broker.
type server struct {
	url    address.URL
	scheme string // tcp, tls, ws or wss
	addr   string // HOST:PORT

	lasting bool // it was named by another server, for good
}

func (s server) encrypted() bool { return s.scheme == "tls" || s.scheme == "wss" }

// String shows the server as it was configured.
func (s server) String() string { return s.url.String() }

// instead returns the server that s has named in r: the first of a list of
// HOST[:PORT] or URLs (4.11). What s has not as a part of it is taken from s, and
// nothing leads from an encrypted connection to a plain one.
func (s server) instead(r *refusal) (server, error) {
	name, _, _ := strings.Cut(strings.TrimSpace(r.instead), " ")
	name = strings.TrimSuffix(name, ",")
	if name == "" {
		return server{}, errors.New("the broker does not say which server")
	}
	if !strings.Contains(name, "://") {
		u := s.url.Reveal()
		if _, _, err := net.SplitHostPort(name); err != nil {
			name = net.JoinHostPort(strings.Trim(name, "[]"), u.Port())
			name = strings.TrimSuffix(name, ":")
		}
		u.Host = name
		name = u.String()
	}
	next, err := parseEndpoint(name)
	if err != nil {
		return server{}, err
	}
	if s.encrypted() && !next.encrypted() {
		return server{}, fmt.Errorf("%s is not encrypted, and %s is", next, s)
	}
	next.lasting = r.code == codeMoved
	return next, nil
}

// parseEndpoints reads a list of broker addresses with commas between.
func parseEndpoints(list string) ([]server, error) {
	var out []server
	for text := range strings.SplitSeq(list, ",") {
		s, err := parseEndpoint(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("endpoint: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parseEndpoint(text string) (server, error) {
	u, err := address.Parse(text)
	if err != nil {
		return server{}, fmt.Errorf("%q is not a broker's URL, such as mqtt://broker:1883", config.MaskUser(text))
	}
	if u.HasUser() {
		return server{}, fmt.Errorf("%s: credentials go into username and password", config.MaskUser(text))
	}
	schemes := map[string]struct{ scheme, port string }{
		"mqtt": {"tcp", "1883"}, "tcp": {"tcp", "1883"}, "mqtts": {"tls", "8883"}, "tls": {"tls", "8883"}, "ssl": {"tls", "8883"},
		"ws": {"ws", "80"}, "wss": {"wss", "443"},
	}
	s, ok := schemes[u.Scheme()]
	if !ok || u.Hostname() == "" {
		return server{}, fmt.Errorf("%q: expected mqtt, mqtts, tcp, tls, ws or wss, then ://HOST[:PORT]", config.MaskUser(text))
	}
	port := u.Port()
	if port == "" {
		port = s.port
	}
	return server{url: u, scheme: s.scheme, addr: net.JoinHostPort(u.Hostname(), port)}, nil
}

// identityReplacer fills in what a topic template says about the gateway.
func identityReplacer(id connector.Identity) *strings.Replacer {
	return strings.NewReplacer("{gateway}", id.Gateway, "{tenant}", id.Tenant, "{device}", id.Device)
}

// checkTopic checks a topic to publish on.
func checkTopic(field, topic string, known ...string) error {
	if topic == "" || strings.ContainsAny(topic, "+#\x00") || len(topic) > 1024 {
		return fmt.Errorf("%s: expected a topic of 1 to 1024 bytes without the wildcards + and #, got %q", field, topic)
	}
	return checkPlaceholders(field, topic, known...)
}

// checkPlaceholders refuses a {word} that is not known.
func checkPlaceholders(field, topic string, known ...string) error {
	for rest := topic; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return nil
		}
		word, tail, ok := strings.Cut(after, "}")
		if !ok || !slices.Contains(known, word) {
			return fmt.Errorf("%s: unknown placeholder {%s; known are {%s}", field, word+strings.Repeat("}", len(after)-len(word)-len(tail)), strings.Join(known, "}, {"))
		}
		rest = tail
	}
}
