package lint

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// Security looks for set-ups of a gateway.yml that work and are not safe. Each finding
// has a rule of its own; it is a warning, and an error with security: strict.
func Security(g *bootstrap.Gateway) config.Findings {
	s := &security{g: g, severity: config.SeverityWarning}
	if g.Security == "strict" {
		s.severity = config.SeverityError
	}
	for _, name := range slices.Sorted(maps.Keys(g.Connectors)) {
		s.connector("connectors."+name, g.Connectors[name])
	}
	s.etcd()
	s.page()
	s.modes()
	return s.findings
}

type security struct {
	g        *bootstrap.Gateway
	severity config.Severity
	findings config.Findings
}

func (s *security) tell(rule, key, format string, args ...any) {
	s.findings = append(s.findings, config.Finding{Severity: s.severity, Rule: rule, Key: key, Message: fmt.Sprintf(format, args...)}.At(s.g.Pos(key)))
}

// refuse tells of what is refused, whatever security says.
func (s *security) refuse(rule, key, format string, args ...any) {
	s.tell(rule, key, format, args...)
	s.findings[len(s.findings)-1].Severity = config.SeverityError
}

// connector looks for credentials on their way in the open, and for commands that may
// write everything.
func (s *security) connector(key string, c map[string]any) {
	open := false
	for e := range strings.SplitSeq(text(c["endpoint"]), ",") {
		u, err := url.Parse(strings.TrimSpace(e))
		open = open || err == nil && slices.Contains([]string{"mqtt", "tcp", "ws"}, u.Scheme) && !local(u.Hostname())
	}
	headers, _ := c["ws_headers"].(map[string]any)
	if open && (text(c["password"]) != "" || len(headers) > 0) {
		s.tell("plain-credentials", key+".endpoint", "the password goes to the broker in the open: use mqtts://, or wss://")
	}
	commands, _ := c["commands"].(map[string]any)
	allow, _ := commands["allow"].([]any)
	if commands["enable"] == true && slices.ContainsFunc(allow, func(v any) bool { return strings.Trim(text(v), "*") == "" && text(v) != "" }) {
		s.tell("commands-allow-all", key+".commands.allow", "whoever may publish commands may write every tag: list those that are meant")
	}
	if commands["enable"] == true && open {
		s.tell("plain-commands", key+".endpoint", "commands to devices come in the open: use mqtts://, or wss://")
	}
}

// etcd looks for a configuration center that others can read or write.
func (s *security) etcd() {
	c := s.g.Config
	if c.Source != "etcd" {
		return
	}
	e := c.Etcd
	if len(e.Endpoints) == 0 {
		if host, _, err := net.SplitHostPort(e.Listen); err == nil && !local(host) {
			s.tell("open-etcd", "config.etcd.listen", "whoever reaches %s may change the configuration: the embedded etcd asks for no password. Use unix, or 127.0.0.1:PORT behind a tunnel", e.Listen)
		}
		return
	}
	encrypted := e.TLS.CA != "" || e.TLS.ClientCert != ""
	for _, endpoint := range e.Endpoints {
		endpoint = strings.TrimPrefix(endpoint, "http://")
		host, _, err := net.SplitHostPort(endpoint)
		if err == nil && !encrypted && !strings.HasPrefix(endpoint, "https://") && !strings.HasPrefix(endpoint, "unix:") && !local(host) {
			s.tell("plain-etcd", "config.etcd.endpoints", "the tables, and the password if there is one, go to %s in the open: set config.etcd.tls", host)
			return
		}
	}
}

// page looks for a status page that everybody can read. It is refused: only this machine
// sees it otherwise.
func (s *security) page() {
	p := s.g.Page
	if (p.TLS.Cert == "") != (p.TLS.Key == "") {
		s.refuse("value", "page.tls", "cert and key are needed, both or none")
	}
	if p.Listen == "" {
		if p.Guarded() || p.TLS.Cert != "" {
			s.tell("page-unused", "page", "tls, token and users are of page.listen, which is not set: the page that page.local shows on this machine asks for nothing")
		}
		return
	}
	host, _, err := net.SplitHostPort(p.Listen)
	if err == nil && local(host) {
		return
	}
	if !p.Guarded() {
		s.refuse("open-page", "page.listen", "whoever reaches %s would see the gateway: set page.token or page.users, or listen at 127.0.0.1:PORT", p.Listen)
	}
	if p.TLS.Cert == "" {
		s.refuse("plain-page", "page.listen", "values and passwords would go over the network in the open: set page.tls.cert and page.tls.key, or listen at 127.0.0.1:PORT behind a proxy that encrypts")
	}
}

// modes looks for files that other users of the machine can read or use.
func (s *security) modes() {
	if mode, err := strconv.ParseUint(s.g.Admin.Mode, 8, 32); err == nil && mode&0o007 != 0 {
		s.tell("wide-socket", "admin.mode", "every user of this machine may use the admin socket: 0660 and admin.group let those in who are meant")
	}
	for _, d := range []struct{ key, path string }{
		{"data_dir", s.g.DataDir}, {"secrets_dir", s.g.SecretsDir}, {"policy.secrets_dir", s.g.Policy.SecretsDir},
	} {
		fi, err := os.Stat(d.path)
		if err != nil || !fi.IsDir() {
			continue // told elsewhere
		}
		if wide(fi) {
			s.tell("wide-directory", d.key, "%s has mode %04o: others can read what is in it, or change it: chmod 0700", d.path, fi.Mode().Perm())
		}
		if d.key != "data_dir" {
			s.secrets(d.key, d.path)
		}
	}
}

func (s *security) secrets(key, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // told when a secret is looked for
	}
	for _, e := range entries {
		if fi, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && fi.Mode().IsRegular() && wide(fi) {
			s.tell("wide-secret", key, "%s has mode %04o: others can read it: chmod 0600", filepath.Join(dir, e.Name()), fi.Mode().Perm())
		}
	}
}

// wide reports whether others than owner and group may read or change a file, or the
// group may change it.
func wide(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o027 != 0 }

// local reports whether a host is this machine.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
