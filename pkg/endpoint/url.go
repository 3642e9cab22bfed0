package endpoint

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// URL is where and how a device is reached:
//
//	tls+tcp://192.168.10.5:802?ca=/certs/plant_ca.pem&timeout=1s
//	rtu+serial:///dev/ttyUSB0?baud=19200&parity=E
//	dtls://line1:${file:psk}@[fd00::5]:802
//
// Schemes are written outermost first. A URL is made by [Parse] or [FromTable],
// which check all of it; URLs compare with ==. The zero URL is invalid.
type URL struct {
	schemes  stack
	host     string
	port     uint16
	username string
	password string
	query    string // as Full writes it, without user name and password
	options  Options
}

// maxText bounds a host and the value of an option, in bytes, unescaped.
const maxText = 1024

// Parse reads a URL. Percent escapes are decoded everywhere but in the scheme;
// "+" in the query means itself. Errors are of type *[config.FieldError] and hold no
// user name or password.
func Parse(text string) (URL, error) {
	var u URL
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return URL{}, fieldError("url", "has no scheme: write one such as tcp://192.168.10.5:502 or serial:///dev/ttyUSB0")
	}
	var err error
	if u.schemes, err = parseStack(scheme); err != nil {
		return URL{}, err
	}
	if strings.IndexByte(rest, '#') >= 0 {
		return URL{}, fieldError("url", "has a fragment: write %%23 for a # that is meant")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if err := u.setAuthority(rest); err != nil {
		return URL{}, err
	}
	if err := u.setQuery(query); err != nil {
		return URL{}, err
	}
	return u, nil
}

// FromTable makes a URL of an item of the endpoints table. opts holds the query
// and may hold username and password; its order is by name.
func FromTable(scheme, host string, port uint16, opts map[string]string) (URL, error) {
	var u URL
	var err error
	if u.schemes, err = parseStack(scheme); err != nil {
		return URL{}, err
	}
	if err := u.setHost(host); err != nil {
		return URL{}, err
	}
	if err := u.setPort(port); err != nil {
		return URL{}, err
	}
	names := make([]string, 0, len(opts))
	for name := range opts {
		names = append(names, name)
	}
	slices.Sort(names)
	params := make([]Param, len(names))
	for i, name := range names {
		params[i] = Param{name, opts[name]}
	}
	if err := u.setParams(params, ""); err != nil {
		return URL{}, err
	}
	return u, nil
}

// Param is one option as it was written.
type Param struct{ Name, Value string }

// Schemes returns the layers as written, outermost first.
func (u URL) Schemes() []Scheme { return slices.Clone(u.schemes.list()) }

// Undialable returns the first layer that can't be dialled yet, or "".
func (u URL) Undialable() string {
	for _, s := range u.schemes.list() {
		if !s.dialable() {
			return s.String()
		}
	}
	return ""
}

// Transport is the lowest layer, named or implied: TCP for "tls".
func (u URL) Transport() Scheme { return u.schemes.base() }

// Framing is RTU or ASCII where the scheme names one, and the zero Scheme
// otherwise.
func (u URL) Framing() Scheme {
	for _, s := range u.schemes {
		if s.framing() {
			return s
		}
	}
	return noScheme
}

// Host is a name, an address without brackets, or the path of a serial device.
func (u URL) Host() string { return u.host }

// Port is 0 where there is none.
func (u URL) Port() uint16 { return u.port }

// HasCredentials reports whether there is a user name or a password.
func (u URL) HasCredentials() bool { return u.username != "" || u.password != "" }

// LiteralPassword reports whether the password itself is written, rather than a
// reference to one: worth a warning.
func (u URL) LiteralPassword() bool { return u.password != "" && !isReference(u.password) }

// Options returns the options, typed, with defaults filled in.
func (u URL) Options() Options { return u.options }

// Query lists the options as written, in their order, without user name and
// password.
func (u URL) Query() []Param {
	params, err := splitQuery(u.query)
	if err != nil {
		panic("endpoint: URL not made by Parse: " + err.Error())
	}
	return params
}

// Table spells the URL as an item of the endpoints table.
func (u URL) Table() (scheme, host string, port uint16, opts map[string]string) {
	opts = make(map[string]string)
	for _, p := range u.Query() {
		opts[p.Name] = p.Value
	}
	if u.username != "" {
		opts["username"] = u.username
	}
	if u.password != "" {
		opts["password"] = u.password
	}
	return u.schemes.String(), u.host, u.port, opts
}

// String is the URL without user name and password.
func (u URL) String() string {
	if u.HasCredentials() {
		return u.text("***@")
	}
	return u.text("")
}

// Format keeps the credentials out of every verb of package fmt.
func (u URL) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'q' || verb == 'v' && f.Flag('#'):
		_, _ = fmt.Fprintf(f, "%q", u.String()) // fmt.State reports no errors
	default:
		_, _ = io.WriteString(f, u.String()) // ditto
	}
}

// MarshalText is String, so that encoders don't meet the credentials either.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

func (u URL) text(user string) string {
	if u.schemes[0] == noScheme {
		return ""
	}
	var b strings.Builder
	b.WriteString(u.schemes.String())
	b.WriteString("://")
	b.WriteString(user)
	b.WriteString(hostText(&u.schemes, u.host))
	if u.port != 0 {
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(int(u.port)))
	}
	if u.query != "" {
		b.WriteByte('?')
		b.WriteString(u.query)
	}
	return b.String()
}

// hostText is the host as a URL writes it.
func hostText(k *stack, host string) string {
	if k.network() && strings.IndexByte(host, ':') >= 0 {
		return "[" + strings.ReplaceAll(host, "%", "%25") + "]"
	}
	return escape(host)
}

// setAuthority reads user info, host and port: what stands between "://" and
// "?".
func (u *URL) setAuthority(text string) error {
	if !u.schemes.network() {
		host, err := unescape(text)
		if err != nil {
			return fieldError("host", "%v", err)
		}
		if strings.IndexByte(text, '@') >= 0 && u.schemes.base() != Bluetooth && !strings.HasPrefix(text, "/") {
			return fieldError("url", "%s takes no user name or password", u.schemes.base())
		}
		return u.setHost(host)
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		if err := u.setUserInfo(text[:i]); err != nil {
			return err
		}
		text = text[i+1:]
	}
	text, path, _ := strings.Cut(text, "/")
	if path != "" {
		return fieldError("url", "has a path after the host; only serial endpoints have one")
	}
	host, port, err := splitHostPort(text)
	if err != nil {
		return fieldError("host", "%v", err) // text could be user:password, without a host
	}
	u.host = host
	return u.setPort(port)
}

func (u *URL) setUserInfo(text string) error {
	user, pass, _ := strings.Cut(text, ":")
	var err1, err2 error
	u.username, err1 = unescape(user)
	u.password, err2 = unescape(pass)
	if err1 != nil || err2 != nil {
		return fieldError("url", "user name or password has a bad %% escape")
	}
	return nil
}

func (u *URL) checkCredentials() error {
	if len(u.username) > maxText || len(u.password) > maxText {
		return fieldError("url", "user name or password is longer than %d bytes", maxText)
	}
	if err := checkName(u.username); err != nil {
		return fieldError("opts.username", "%v", err)
	}
	if err := checkSecret(u.password); err != nil {
		return fieldError("opts.password", "%v", err)
	}
	if u.schemes.has(DTLS) && u.LiteralPassword() {
		if _, err := hex.DecodeString(u.password); err != nil {
			return fieldError("opts.password", "is not hexadecimal, as a pre-shared key of DTLS must be")
		}
	}
	return nil
}

// setHost checks a decoded host as the table writes it: an IPv6 address with or
// without brackets.
func (u *URL) setHost(host string) error {
	if u.schemes.network() {
		if inner, ok := strings.CutPrefix(host, "["); ok {
			host = strings.TrimSuffix(inner, "]")
		}
		if err := checkHost(host); err != nil {
			return fieldError("host", "%q %v", host, err)
		}
		u.host = host
		return nil
	}
	if len(host) > maxText {
		return fieldError("host", "is longer than %d bytes", maxText)
	}
	for i := 0; i < len(host); i++ {
		if host[i] < ' ' || host[i] == 0x7f {
			return fieldError("host", "%q holds a control character", host)
		}
	}
	switch {
	case host == "":
		return fieldError("host", "is missing: write %s", hostExample(u.schemes.base()))
	case strings.HasPrefix(host, "${"):
		return fieldError("host", "can't be a secret")
	case u.schemes.base() == Serial && host[0] != '/' && !strings.HasPrefix(strings.ToUpper(host), "COM"):
		return fieldError("host", "%q is not the path of a serial device: write %s", host, hostExample(Serial))
	}
	u.host = host
	return nil
}

func hostExample(s Scheme) string {
	switch s {
	case Serial:
		return "/dev/ttyUSB0 (in a URL serial:///dev/ttyUSB0)"
	case CAN:
		return "can0"
	case Bluetooth:
		return "00:11:22:33:44:55"
	}
	return "192.168.10.5"
}

func (u *URL) setPort(port uint16) error {
	switch {
	case u.schemes.network() && port == 0:
		return fieldError("port", "is missing: write 1 to 65535 (502 for Modbus TCP)")
	case !u.schemes.network() && port != 0:
		return fieldError("port", "%s has none", u.schemes.base())
	}
	u.port = port
	return nil
}

// setQuery reads the raw query.
func (u *URL) setQuery(raw string) error {
	var few [12]Param // no allocation for as many
	params, err := appendQuery(few[:0], raw)
	if err != nil {
		return err
	}
	return u.setParams(params, raw)
}

// setParams fills in options, user name, password and query, and checks what
// only the whole URL shows. raw is what params were read from, or "".
func (u *URL) setParams(params []Param, raw string) error {
	u.options = defaults(&u.schemes)
	kept := params[:0]
	for i, p := range params {
		for _, q := range params[:i] {
			if p.Name == q.Name {
				return fieldError("opts."+p.Name, "is given twice")
			}
		}
		option := findOption(p.Name)
		switch {
		case option == nil:
			return unknownOption(p.Name)
		case len(p.Value) > maxText:
			return fieldError("opts."+p.Name, "is longer than %d bytes", maxText)
		case !option.scope.covers(&u.schemes):
			return fieldError("opts."+p.Name, "is for %s, not for %s", option.For, u.schemes.String())
		case option.Secret:
			if err := u.setCredential(p); err != nil {
				return err
			}
			continue
		case strings.Contains(p.Value, "${"):
			return fieldError("opts."+p.Name, "takes no reference to a secret; password does")
		}
		if err := option.set(&u.options, p.Value); err != nil {
			return err
		}
		kept = append(kept, p)
	}
	if err := u.options.checkTogether(&u.schemes, kept); err != nil {
		return err
	}
	if len(kept) == len(params) && isCanonical(raw) {
		u.query = raw
	} else {
		u.query = joinQuery(kept)
	}
	return u.checkCredentials()
}

func (u *URL) setCredential(p Param) error {
	field := &u.username
	if p.Name == "password" {
		field = &u.password
	}
	if *field != "" {
		return fieldError("opts."+p.Name, "is given twice: before the host, and as an option")
	}
	*field = p.Value
	return nil
}

// splitHostPort reads "host:port", "host", "[v6]:port" and "[v6]". It is for
// networks only.
func splitHostPort(text string) (host string, port uint16, err error) {
	digits, hasPort := "", false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		var rest string
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, fmt.Errorf("has no closing bracket")
		}
		if digits, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return "", 0, fmt.Errorf("has text after the bracket")
		}
		if _, err := netip.ParseAddr(strings.Replace(host, "%25", "%", 1)); err != nil || strings.IndexByte(host, ':') < 0 {
			return "", 0, fmt.Errorf("is not an IPv6 address")
		}
	} else {
		if host, digits, hasPort = strings.Cut(text, ":"); strings.IndexByte(digits, ':') >= 0 {
			return "", 0, fmt.Errorf("has several colons: write an IPv6 address in brackets")
		}
	}
	if hasPort {
		n, err := number.Int(digits, 1, math.MaxUint16)
		if e, ok := errors.AsType[*number.Error](err); ok && e.Kind == number.Doubtful {
			return "", 0, fmt.Errorf("has a bad port: %w", err)
		}
		if err != nil || digits[0] == '+' {
			return "", 0, fmt.Errorf("has a bad port: write 1 to 65535")
		}
		port = uint16(n)
	}
	if host, err = unescape(host); err != nil {
		return "", 0, err
	}
	return host, port, checkHost(host)
}

// checkHost accepts names and addresses.
func checkHost(host string) error {
	if host == "" {
		return fmt.Errorf("is no host: write a name or an address")
	}
	if strings.IndexByte(host, ':') >= 0 {
		a, err := netip.ParseAddr(host)
		if err != nil && strings.Count(host, ":") == 1 {
			return fmt.Errorf("holds a colon: the port is written apart, as port")
		}
		if err != nil || strings.ContainsAny(a.Zone(), "]/?#@ ") {
			return fmt.Errorf("is not an IPv6 address")
		}
		return nil
	}
	if len(host) > 254 { // with a dot at the end
		return fmt.Errorf("is longer than 253 characters")
	}
	for i := 0; i < len(host); i++ {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return fmt.Errorf("is not a host name: letters, digits, - . _ only (write other scripts in punycode)")
		}
	}
	host = strings.TrimSuffix(host, ".")
	if last := host[strings.LastIndexByte(host, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("is neither an IPv4 address nor a host name")
		}
	}
	return nil
}
