// Package bootstrap reads gateway.yml, the file that a gateway starts from, and
// lays the other sources of settings over it.
//
// From lowest to highest, a value comes from: its default (in the schema), the file, the
// settings of the config center (for the bus's and connectors' tunables), an EDGE_GW_*
// variable, a flag, and while the gateway runs a temporary value (edge-ctl).
// [Gateway.Origin] tells for each key which it was. The variable of a key is the key in
// upper case with _ for dots and dashes: EDGE_GW_BUS_WAL_FLUSH_MS for bus.wal_flush_ms.
package bootstrap

import (
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// EnvPrefix begins the environment variables that set keys.
const EnvPrefix = "EDGE_GW_"

// Gateway is the bootstrap configuration of one gateway: complete, checked, and
// with absolute paths. It is immutable.
type Gateway struct {
	GatewayID    string      `json:"gateway_id"`
	Tenant       string      `json:"tenant"`
	Device       string      `json:"device"`
	DataDir      string      `json:"data_dir"`
	SecretsDir   string      `json:"secrets_dir"`
	DriversDir   string      `json:"drivers_dir"` // absolute path
	DriverMemory config.Size `json:"driver_memory"`
	Security     string      `json:"security"` // normal, strict
	Policy       Policy      `json:"policy"`
	Log          Log         `json:"log"`
	Clock        Clock       `json:"clock"`
	Metrics      Metrics     `json:"metrics"`
	Page         Page        `json:"page"`
	Admin        Admin       `json:"admin"`
	Config       Config      `json:"config"`

	// Bus holds the settings of the bus, with their defaults. Numbers are int64 or
	// float64. The bus decodes them.
	Bus map[string]any `json:"-"`
	// Connectors holds each connector's settings by its name, likewise, secrets still as
	// references.
	Connectors map[string]map[string]any `json:"connectors"`
	// ConnectorNames are their names in the order of the file.
	ConnectorNames []string `json:"-"`

	// Warnings are what is doubtful, but no reason not to start.
	Warnings config.Findings `json:"-"`

	sources sources
	values  []Value
}

// Policy is what tables may use of the machine; see the schema.
type Policy struct {
	DocumentMemory config.Size `json:"document_memory"`

	Hosts        []string            `json:"hosts"`
	Serial       []string            `json:"serial"`
	Certificates []string            `json:"certificates"`
	Signers      []string            `json:"signers"`
	SecretsDir   string              `json:"secrets_dir"` // absolute path
	Secrets      map[string][]string `json:"secrets"`
}

// Log is the log on standard output.
type Log struct {
	Level  string `json:"level"`  // debug, info, warn, error
	Format string `json:"format"` // json, text
}

// Clock says what is known of the machine's clock.
type Clock struct {
	NotBefore config.Date     `json:"not_before"` // a clock that shows an earlier time isn't set
	Wait      config.Duration `json:"wait"`       // the start waits so long for it
}

// Metrics is the HTTP listener of /metrics, /healthz and /readyz.
type Metrics struct {
	Listen    string `json:"listen"`     // HOST:PORT, "" for none
	WebConfig string `json:"web_config"` // absolute path, "" for neither TLS nor passwords
}

// Page says where the status page is shown.
type Page struct {
	Local  bool              `json:"local"`  // on the metrics listener, to clients of this machine
	Listen string            `json:"listen"` // HOST:PORT of a listener of its own, "" for none
	TLS    PageTLS           `json:"tls"`
	Token  string            `json:"token"` // a secret, or a reference to one
	Users  map[string]string `json:"users"` // bcrypt hashes by name, or references to them
}

// Guarded reports whether one has to say who one is.
func (p *Page) Guarded() bool { return p.Token != "" || len(p.Users) > 0 }

// PageTLS names the files of the page's own certificate, absolute or "".
type PageTLS struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Admin is the admin socket.
type Admin struct {
	Socket string `json:"socket"` // absolute path
	Mode   string `json:"mode"`   // octal
	Group  string `json:"group"`  // "" leaves the process's own
	Roles  Roles  `json:"roles"`
}

// Roles names who may do what on the admin socket: "user:NAME", "group:NAME".
type Roles struct {
	View     []string `json:"view"`
	Operate  []string `json:"operate"`
	Write    []string `json:"write"`
	Maintain []string `json:"maintain"`
}

// Config says where the tables come from.
type Config struct {
	Source        string          `json:"source"` // etcd, dir
	Dir           string          `json:"dir"`    // absolute path
	Etcd          Etcd            `json:"etcd"`
	Rollback      string          `json:"rollback"` // auto, center, local
	Verify        string          `json:"verify"`   // init, connect, first_read, strict
	VerifyTimeout config.Duration `json:"verify_timeout"`
}

// Etcd is the config center.
type Etcd struct {
	Endpoints []string `json:"endpoints"` // empty: embedded
	Listen    string   `json:"listen"`    // of the embedded one: "unix" or HOST:PORT
	Prefix    string   `json:"prefix"`    // without a slash at its end
	Username  string   `json:"username"`
	Password  string   `json:"password"` // may be a reference; see config.Secrets
	TLS       TLS      `json:"tls"`
}

// TLS names the files of an encrypted connection, absolute or "".
type TLS struct {
	CA         string `json:"ca"`
	ClientCert string `json:"client_cert"`
	ClientKey  string `json:"client_key"`
}

// Value is one key with its value and where that came from.
type Value struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`  // a secret that is no reference is masked
	Origin string `json:"origin"` // "default", "gateway.yml:12", "settings", "EDGE_GW_…", "flag"

	Secret bool `json:"-"` // the key takes a reference to a secret
	File   bool `json:"-"` // the key names a file that is read

	path []string
}

// sources are the layers that a Gateway was built from.
type sources struct {
	file     *config.File // nil if there is none
	settings map[string]map[string]any
	env      map[string]string // by name
	flags    map[string]string // by key
	passing  map[string]string // by key; set while the gateway runs, until it ends

	pos func(path []string, onKey bool) config.Pos // where a key stands; set by build
}

// Load reads the file at path, lays the variables of environ ("NAME=value") that
// begin with EDGE_GW_ over it, and then flags, a map from keys ("log.format") to
// values as they'd be written in the file; lists are separated by commas. With
// an empty path there is no file. Relative paths are resolved against the file's
// directory, those in variables and flags against the working directory. Its
// error is a [config.Findings] with everything that is wrong.
func Load(path string, flags map[string]string, environ []string) (*Gateway, error) {
	s := sources{env: make(map[string]string), flags: flags}
	if path != "" {
		f, err := config.ReadFile(schema, path)
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, EnvPrefix) && value != "" {
			s.env[name] = value
		}
	}
	return s.build()
}

// WithSettings returns g with the settings of the config center laid in at their
// place: above the file, below variables and flags. Nil takes them away again.
func (g *Gateway) WithSettings(settings map[string]map[string]any) (*Gateway, error) {
	s := g.sources
	s.settings = settings
	return s.build()
}

// WithPassing returns g with values laid over all others, which hold until the gateway
// ends; they are written as in the file, by key.
func (g *Gateway) WithPassing(values map[string]string) (*Gateway, error) {
	s := g.sources
	s.passing = values
	return s.build()
}

// OriginPassing is the origin of the values of [Gateway.WithPassing].
const OriginPassing = "edge-ctl"

// Origin returns where the value of a key came from: "default",
// "gateway.yml:12", "settings", the variable's name, "flag" or "edge-ctl"; "" for a key that
// does not exist.
func (g *Gateway) Origin(key string) string {
	for _, v := range g.values {
		if v.Key == key {
			return v.Origin
		}
	}
	return ""
}

// Has reports whether there is such a key.
func (g *Gateway) Has(key string) bool {
	return slices.ContainsFunc(g.values, func(v Value) bool { return v.Key == key })
}

// Pos returns the place of a key: in the file, or the variable or flag that sets it.
func (g *Gateway) Pos(key string) config.Pos {
	if key == "" {
		return g.sources.pos(nil, false)
	}
	return g.sources.pos(strings.Split(key, "."), false)
}

// WALDir returns the directory of the log: bus.wal_dir, absolute.
func (g *Gateway) WALDir() string {
	dir, _ := g.Bus["wal_dir"].(string)
	return dir
}

// Values lists every key, in the order of gateway.yml's documentation, with
// secrets masked.
func (g *Gateway) Values() []Value { return slices.Clone(g.values) }
