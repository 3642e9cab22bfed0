package opcua

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Proto is the protocol's name in the drivers table.
const Proto = "opcua"

// Scheme is the scheme of the endpoints of OPC UA servers.
const Scheme = "opc.tcp"

// DefaultPort is the port that IANA has registered for opc.tcp.
const DefaultPort = 4840

// Mode says how the values of a server reach the driver.
type Mode string

// The modes.
const (
	ModeSubscribe Mode = "subscribe" // the server sends what changes
	ModePoll      Mode = "poll"      // the driver reads
)

// Settings are the cfg of a driver, with the defaults filled in. The schema
// schemas/drivers/opcua.schema.json has the types, defaults, bounds and meanings.
type Settings struct {
	Mode           Mode          `json:"mode"`
	Polling        time.Duration `json:"polling"` // sampling or reading interval of variables without one of their own
	Publishing     time.Duration `json:"publishing"`
	Keepalive      time.Duration `json:"keepalive"`
	SessionTimeout time.Duration `json:"session_timeout"`
	Timeout        time.Duration `json:"timeout"` // of one request
	BackoffMax     time.Duration `json:"backoff_max"`
	Retry          time.Duration `json:"retry"` // of nodes that the server refuses
	MaxPerRequest  int           `json:"max_per_request"`
	Backfill       bool          `json:"backfill"`
	EnableWrite    bool          `json:"enable_write"`
	VerifyWrite    bool          `json:"verify_write"`
	VerifyDelay    time.Duration `json:"verify_delay"`

	Sampling
	Subscriptions []Subscription `json:"subscriptions"`

	byNode map[string]*Subscription // by Node.String
}

// Sampling says how a server watches a node (OPC 10000-4, 7.21). A driver has one for
// all its nodes; a [Subscription] overrides it for one of them.
type Sampling struct {
	QueueSize    int     `json:"queue_size"` // 0: what ten seconds of sampling need
	Discard      string  `json:"discard"`
	Trigger      string  `json:"trigger"`
	Deadband     float64 `json:"deadband"` // 0: none
	DeadbandType string  `json:"deadband_type"`
}

// Subscription overrides the [Sampling] and the sampling interval for one node. A field
// that is nil, empty or 0 leaves what holds for all nodes.
type Subscription struct {
	Node         string        `json:"node"`
	Sample       time.Duration `json:"sample"`
	QueueSize    *int          `json:"queue_size"`
	Discard      string        `json:"discard"`
	Trigger      string        `json:"trigger"`
	Deadband     *float64      `json:"deadband"`
	DeadbandType string        `json:"deadband_type"`
}

const (
	defaultTimeout = 5 * time.Second        // of a request, where neither cfg nor the endpoint has one
	minPolling     = 10 * time.Millisecond  // of a variable; the schema has the driver's
	bridge         = 10 * time.Second       // a cut that the server's queue outlasts by default
	leastQueue     = 10                     // values
	mostQueue      = 10_000                 // values
	minKeepalive   = 200 * time.Millisecond // of what the publishing interval allows
)

// ParseSettings reads the cfg of a driver. The default of cfg.timeout is the timeout of
// ep, if it has one, and 5 s otherwise; ep may be the zero value. The errors are
// [config.FieldError]s.
func ParseSettings(cfg map[string]any, ep config.Endpoint) (*Settings, error) {
	s, err := config.Decode[Settings]("drivers/opcua", cfg, "cfg")
	if err != nil {
		return s, err
	}
	if s.Timeout == 0 {
		s.Timeout = endpointTimeout(ep)
	}
	if s.Keepalive < s.Publishing {
		return s, config.FieldErrorf("cfg.keepalive", "%v is shorter than publishing, %v; expected as much at least",
			config.Duration(s.Keepalive), config.Duration(s.Publishing))
	}
	s.byNode = make(map[string]*Subscription, len(s.Subscriptions))
	for i := range s.Subscriptions {
		sub := &s.Subscriptions[i]
		key := fmt.Sprintf("cfg.subscriptions.%d.node", i)
		n, err := ParseNode(sub.Node)
		if err != nil {
			return s, config.FieldErrorf(key, "%v", err)
		}
		if s.byNode[n.String()] != nil {
			return s, config.FieldErrorf(key, "%s stands twice in the list", n)
		}
		s.byNode[n.String()] = sub
	}
	return s, nil
}

// endpointTimeout returns the timeout that ep's connections have, and more where it has
// none of its own: a server takes longer than a connection does.
func endpointTimeout(ep config.Endpoint) time.Duration {
	if _, given := ep.Opts["timeout"]; !given {
		return defaultTimeout
	}
	return endpoint.OptionsOf(ep.Scheme, ep.Opts).Timeout
}

// watch is how one variable is asked for, completely.
type watch struct {
	sample  time.Duration
	queue   uint32
	newest  bool // of a full queue the newest value is discarded
	trigger ua.DataChangeTrigger
	band    float64
	percent bool
}

// watch returns how a variable of node n is asked for.
func (s *Settings) watch(n Node, v *config.Variable) watch {
	w := watch{sample: s.Polling, band: s.Deadband, percent: s.DeadbandType == "percent", newest: s.Discard == "newest", trigger: triggers()[s.Trigger]}
	if v.Polling > 0 {
		w.sample = time.Duration(v.Polling)
	}
	queue := s.QueueSize
	if own := s.byNode[n.String()]; own != nil {
		if own.Sample > 0 {
			w.sample = own.Sample
		}
		if own.QueueSize != nil {
			queue = *own.QueueSize
		}
		if own.Discard != "" {
			w.newest = own.Discard == "newest"
		}
		if own.Trigger != "" {
			w.trigger = triggers()[own.Trigger]
		}
		if own.Deadband != nil {
			w.band = *own.Deadband
		}
		if own.DeadbandType != "" {
			w.percent = own.DeadbandType == "percent"
		}
	}
	if queue == 0 {
		queue = min(max(int((bridge+w.sample-1)/max(w.sample, time.Millisecond)), leastQueue), mostQueue)
	}
	w.queue = uint32(queue)
	return w
}

func triggers() map[string]ua.DataChangeTrigger {
	return map[string]ua.DataChangeTrigger{
		"status": ua.DataChangeTriggerStatus, "value": ua.DataChangeTriggerStatusValue, "timestamp": ua.DataChangeTriggerStatusValueTimestamp,
	}
}

// filter returns the data change filter of w, nil if it is the standard's own.
func (w *watch) filter() *ua.ExtensionObject {
	if w.band == 0 && w.trigger == ua.DataChangeTriggerStatusValue {
		return nil
	}
	f := &ua.DataChangeFilter{Trigger: w.trigger, DeadbandValue: w.band}
	switch {
	case w.band > 0 && w.percent:
		f.DeadbandType = uint32(ua.DeadbandTypePercent)
	case w.band > 0:
		f.DeadbandType = uint32(ua.DeadbandTypeAbsolute)
	}
	return ua.NewExtensionObject(f)
}

// Access says how a server is reached and how the way is secured. It is what an endpoint
// of scheme opc.tcp says.
type Access struct {
	URL       string // of the server, with the host that the endpoint has
	Host      string
	Address   string                 // HOST:PORT
	Policy    string                 // URI of the security policy; "": the strongest that both sides have, but never None
	Mode      ua.MessageSecurityMode // MessageSecurityModeInvalid: the strongest that the server has with the policy
	Username  string                 // "": anonymous, or by UserCert
	Password  string                 // the password, or a reference such as ${file:NAME}
	UserCert  string                 // path of the user's certificate; "": none
	UserKey   string                 // path of its key
	CheckHost bool                   // the server's certificate must name Host
}

// ownOptions are the options of an endpoint that are OPC UA's. The others are
// those of its TCP connection.
func ownOptions() map[string]bool {
	return map[string]bool{"security_policy": true, "security_mode": true, "user_cert": true, "user_key": true, "check_host": true, "path": true}
}

// policies are the names of the security policies.
func policies() map[string]string {
	return map[string]string{
		"auto": "", "None": ua.SecurityPolicyURINone, "Basic256Sha256": ua.SecurityPolicyURIBasic256Sha256,
		"Aes128_Sha256_RsaOaep": ua.SecurityPolicyURIAes128Sha256RsaOaep, "Aes256_Sha256_RsaPss": ua.SecurityPolicyURIAes256Sha256RsaPss,
	}
}

func modes() map[string]ua.MessageSecurityMode {
	return map[string]ua.MessageSecurityMode{
		"auto": ua.MessageSecurityModeInvalid, "None": ua.MessageSecurityModeNone,
		"Sign": ua.MessageSecurityModeSign, "SignAndEncrypt": ua.MessageSecurityModeSignAndEncrypt,
	}
}

// ParseAccess reads an endpoint of scheme opc.tcp. It resolves no secret and reads no
// file. The errors are [config.FieldError]s.
func ParseAccess(ep config.Endpoint) (*Access, error) {
	if ep.Scheme != Scheme {
		return nil, config.FieldErrorf("scheme", "%s: OPC UA is spoken over %s only", ep.Scheme, Scheme)
	}
	port := ep.Port
	if port == 0 {
		port = DefaultPort
	}
	path := ep.Opts["path"]
	if path != "" && path[0] != '/' {
		path = "/" + path
	}
	host := ep.Host
	a := &Access{
		Host: host, Address: joinHostPort(host, port), URL: Scheme + "://" + joinHostPort(host, port) + path, CheckHost: true,
		Username: ep.Opts["username"], Password: ep.Opts["password"], UserCert: ep.Opts["user_cert"], UserKey: ep.Opts["user_key"],
	}
	var ok bool
	if a.Policy, ok = policies()[orAuto(ep.Opts["security_policy"])]; !ok {
		return nil, config.FieldErrorf("opts.security_policy", "%q: expected auto, Basic256Sha256, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss or None",
			ep.Opts["security_policy"])
	}
	if a.Mode, ok = modes()[orAuto(ep.Opts["security_mode"])]; !ok {
		return nil, config.FieldErrorf("opts.security_mode", "%q: expected auto, Sign, SignAndEncrypt or None", ep.Opts["security_mode"])
	}
	if err := a.checkTogether(); err != nil {
		return nil, err
	}
	if text, given := ep.Opts["check_host"]; given {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return nil, config.FieldErrorf("opts.check_host", "%q: expected true or false", text)
		}
		a.CheckHost = on
	}
	return a, nil
}

// checkTogether refuses options that contradict each other, and completes None.
func (a *Access) checkTogether() error {
	none := ua.MessageSecurityModeNone
	switch {
	case a.Policy == ua.SecurityPolicyURINone && a.Mode == ua.MessageSecurityModeInvalid:
		a.Mode = none
	case a.Policy == "" && a.Mode == none:
		a.Policy = ua.SecurityPolicyURINone
	case (a.Policy == ua.SecurityPolicyURINone) != (a.Mode == none):
		return config.FieldErrorf("opts.security_mode", "contradicts security_policy: None goes with None only")
	}
	if (a.UserCert == "") != (a.UserKey == "") {
		return config.FieldErrorf("opts.user_cert", "needs user_key, and user_key needs user_cert")
	}
	if a.UserCert != "" && a.Username != "" {
		return config.FieldErrorf("opts.user_cert", "contradicts username: a session has one user")
	}
	return nil
}

// Secure reports whether all messages are at least signed.
func (a *Access) Secure() bool { return a.Policy != ua.SecurityPolicyURINone }

func orAuto(text string) string {
	if text == "" {
		return "auto"
	}
	return text
}

func joinHostPort(host string, port uint16) string {
	for _, c := range host {
		if c == ':' {
			return "[" + host + "]:" + strconv.Itoa(int(port))
		}
	}
	return host + ":" + strconv.Itoa(int(port))
}

// Transport returns the TCP endpoint that is dialled for an endpoint of scheme opc.tcp,
// on port 4840 if ep has none. ok is false if ep has another scheme.
func Transport(ep config.Endpoint) (tcp config.Endpoint, ok bool) {
	if ep.Scheme != Scheme {
		return ep, false
	}
	out := ep
	out.Scheme = "tcp"
	if out.Port == 0 {
		out.Port = DefaultPort
	}
	out.Opts = map[string]string{
		"max_conns":   "8",  // each driver holds one, and questions of people need their own
		"backoff_max": "5s", // a server that comes back is seen soon
	}
	own := ownOptions()
	maps.Copy(out.Opts, ep.Opts)
	maps.DeleteFunc(out.Opts, func(name, _ string) bool { return own[name] })
	return out, true
}

// milliseconds is how the protocol writes a duration.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// fromMilliseconds is the inverse; nonsense of a server is 0.
func fromMilliseconds(ms float64) time.Duration {
	if !(ms > 0) || ms > float64(math.MaxInt64/int64(time.Millisecond)) {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}
