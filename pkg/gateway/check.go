package gateway

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// checker gathers what is wrong with a configuration.
type checker struct {
	cfg      *bootstrap.Gateway
	findings config.Findings
}

// add notes what is wrong with a key. With err nil it is nothing.
func (c *checker) add(severity config.Severity, rule, key string, err error) {
	if err == nil {
		return
	}
	text := err.Error()
	if key != "" && !strings.HasPrefix(text, key) {
		text = key + ": " + text
	}
	c.findings = append(c.findings, config.Finding{Severity: severity, Rule: rule, Key: key, Message: text}.At(c.cfg.Pos(key)))
}

func (c *checker) refuse(key string, err error) { c.add(config.SeverityError, "value", key, err) }
func (c *checker) doubt(rule, key string, err error) {
	c.add(config.SeverityWarning, rule, key, err)
}

// Check says what would end the start of cfg's gateway, as errors, and what would keep
// it from delivering, as warnings. It is the check that [Open] begins with, and a look
// at what Open would take: directories, ports, tables. It opens nothing for good and
// changes nothing.
func Check(ctx context.Context, cfg *bootstrap.Gateway) config.Findings {
	c := &checker{cfg: cfg, findings: slices.Clone(cfg.Warnings)}
	g := c.rehearse()
	c.findings = append(c.findings, lint.Security(cfg)...)
	c.surroundings()
	c.directories()
	if !answers(cfg.Admin.Socket) { // else they are in use by that very gateway
		c.ports()
	}
	if cfg.Config.Source == "dir" && c.findings.Err() == nil {
		c.tables(ctx, g)
	}
	g.close()
	c.findings.Sort()
	return c.findings
}

// rehearse constructs every part as the start does, on nothing: no file, no port. What
// can't be constructed here can't be at the start.
func (c *checker) rehearse() *Gateway {
	g := c.gateway()
	_, err := ParseLevel(c.cfg.Log.Level)
	c.refuse("log.level", err)
	_, err = NewLogger(io.Discard, c.cfg.Log.Format, new(slog.LevelVar))
	c.refuse("log.format", err)
	_, err = bus.ParseConfig(c.cfg.Bus)
	c.refuse("bus", err)
	c.refuse("metrics.web_config", checkWebConfig(c.cfg.Metrics.WebConfig))
	c.refuse("page", g.pageKeys().Check())
	_, err = pageTLS(c.cfg.Page.TLS)
	c.refuse("page.tls", err)
	for _, build := range []func() error{g.openPool, g.openSouth, g.openNorth} {
		c.refuse("", build())
	}
	if g.connectors != nil {
		c.connectors(g)
	}
	c.refuse("config", g.openConfig(rehearsal))
	socket, err := adminSocket(c.cfg)
	if err == nil {
		_, err = admin.NewServer(socket, admin.Backend{}, admin.Deps{Log: g.log, Registerer: g.reg})
	}
	c.refuse("admin", err)
	return g
}

// rehearsal stands for the instance id in a check, which must not make one.
const rehearsal = "rehearsal"

// gateway returns a gateway without any part.
func (c *checker) gateway() *Gateway {
	log := slog.New(slog.DiscardHandler)
	return &Gateway{cfg: c.cfg, log: log, reg: prometheus.NewRegistry(), history: newHistory(), booted: make(chan struct{}), failed: make(chan error, 1)}
}

// connectors constructs each connector. A place is known where the error begins with
// the name of a setting.
func (c *checker) connectors(g *Gateway) {
	told := lint.Connectors(c.cfg, func(path []string) config.Pos { return c.cfg.Pos(strings.Join(path, ".")) })
	told = slices.DeleteFunc(told, func(f config.Finding) bool { return f.Rule == "not-built" }) // the constructor says more
	c.findings = append(c.findings, told...)
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Connectors)) {
		key := "connectors." + name
		c.futile(key, c.cfg.Connectors[name])
		if slices.ContainsFunc(told, func(f config.Finding) bool {
			return strings.HasPrefix(f.Key, key+".") && f.Severity == config.SeverityError
		}) {
			continue
		}
		err := g.connectors.Check(map[string]map[string]any{name: c.cfg.Connectors[name]})
		if err == nil {
			continue
		}
		text := strings.TrimPrefix(err.Error(), "connector "+name+": ")
		if field, _, ok := strings.Cut(text, ":"); ok && c.cfg.Has(key+"."+field) {
			key += "." + field
			text = strings.TrimPrefix(text, field+": ")
		}
		c.refuse(key, errors.New(text))
	}
}

// futile tells of settings that can't do what they are meant for.
func (c *checker) futile(key string, settings map[string]any) {
	endpoint, _ := settings["endpoint"].(string)
	topic, _ := settings["topic"].(string)
	tls, _ := settings["tls"].(map[string]any)
	encrypted := slices.ContainsFunc(strings.Split(endpoint, ","), func(e string) bool {
		scheme, _, _ := strings.Cut(strings.TrimSpace(e), "://")
		return slices.Contains([]string{"mqtts", "tls", "ssl", "wss"}, scheme)
	})
	if ca, _ := tls["ca"].(string); ca != "" && !encrypted {
		c.doubt("tls", key+".tls.ca", fmt.Errorf("nothing is encrypted, since %s is not: expected mqtts, tls or wss in endpoint", endpoint))
	}
	if strings.HasPrefix(topic, "$SYS/") || strings.HasPrefix(topic, "$share/") {
		c.doubt("topic", key+".topic", fmt.Errorf("%s belongs to the broker, which takes no messages there", topic))
	}
}

// surroundings looks for the files and secrets that are read when the gateway dials.
// They may come later, so that what is missing doesn't end the start.
func (c *checker) surroundings() {
	secrets := config.Secrets{Dir: c.cfg.SecretsDir}
	for _, v := range c.cfg.Values() {
		text, _ := v.Value.(string)
		switch {
		case text == "":
		case v.Secret && strings.HasPrefix(text, "${"):
			_, err := secrets.Resolve(text)
			c.doubt("secret", v.Key, err)
		case v.File:
			c.doubt("file", v.Key, checkPEM(text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Policy.Secrets)) {
		ref := "${file:" + name + "}"
		if strings.HasPrefix(name, "EDGE_SECRET_") {
			ref = "${env:" + name + "}"
		}
		_, err := config.Secrets{Dir: c.cfg.Policy.SecretsDir}.Resolve(ref)
		c.doubt("secret", "policy.secrets", err)
	}
	dir := existing(c.cfg.WALDir())
	free, err := freeOf(dir)
	if err != nil {
		return // the directories' own check tells
	}
	log, err := bus.ParseConfig(c.cfg.Bus)
	if err != nil {
		return // it was refused
	}
	if free < log.MinFree {
		c.doubt("disk", "bus.min_free", fmt.Errorf("the disk of %s has %s free and min_free is %s: nothing is published until there is more; lower it, or make room",
			dir, wholeMiB(free), config.Size(log.MinFree)))
	}
}

// checkPEM says why a file with certificates or a key can't be used.
func checkPEM(path string) error {
	text, err := regular.ReadFile(path, clienttls.MaxFile)
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(text); block == nil {
		return fmt.Errorf("%s holds no PEM block: expected lines such as -----BEGIN CERTIFICATE-----", path)
	}
	return nil
}

// existing returns path, or the directory above it that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// directories looks whether this user could make and write what the gateway keeps.
func (c *checker) directories() {
	c.refuse("data_dir", checkRestored(c.cfg.DataDir))
	for _, d := range []struct{ key, path string }{
		{"data_dir", c.cfg.DataDir}, {"bus.wal_dir", c.cfg.WALDir()}, {"admin.socket", filepath.Dir(c.cfg.Admin.Socket)},
	} {
		const writable, searchable = 2, 1 // access(2)
		at := existing(d.path)
		fi, err := os.Stat(at)
		switch {
		case err != nil:
			c.refuse(d.key, err)
		case !fi.IsDir():
			c.refuse(d.key, fmt.Errorf("%s is not a directory", at))
		default:
			if err := syscall.Access(at, writable|searchable); err != nil {
				c.refuse(d.key, fmt.Errorf("this user may not write in %s: %w", at, err))
			}
		}
	}
}

// ports tries the addresses that the gateway listens on.
func (c *checker) ports() {
	listen := map[string]string{"metrics.listen": c.cfg.Metrics.Listen, "page.listen": c.cfg.Page.Listen}
	if e := c.cfg.Config.Etcd; c.cfg.Config.Source == "etcd" && len(e.Endpoints) == 0 && e.Listen != "unix" {
		listen["config.etcd.listen"] = e.Listen
	}
	for _, key := range slices.Sorted(maps.Keys(listen)) {
		if listen[key] == "" {
			continue
		}
		l, err := net.Listen("tcp", listen[key])
		switch {
		case err == nil:
			_ = l.Close() // nobody has connected
		case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, fs.ErrPermission): // another time, or another user
			c.doubt("port", key, fmt.Errorf("cannot be listened on now: %w; %s", err, listenHint(listen[key], err)))
		default:
			c.refuse(key, err)
		}
	}
}

// answers reports whether a gateway listens on the socket.
func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said
	return true
}

// tables prepares the tables of a directory, as the first apply does. If they can't be
// used, a gateway that ran before runs what it ran last.
func (c *checker) tables(ctx context.Context, g *Gateway) {
	snap, err := config.LoadDir(c.cfg.Config.Dir)
	if err == nil {
		none := new(config.Snapshot)
		_, err = apply.NewPlant(apply.PlantConfig{
			Drivers: g.drivers, Endpoints: g.endpoints, Settings: (*settings)(g), Verify: apply.VerifyInit, Commit: g.commit,
		}).Prepare(ctx, none, snap)
	}
	if err == nil {
		return
	}
	severity := config.SeverityError
	if _, kept := feed.LastGood(c.cfg.DataDir); kept == nil {
		severity = config.SeverityWarning
	}
	var found config.Findings
	if !errors.As(err, &found) {
		c.add(severity, "tables", "config.dir", err)
		return
	}
	for _, f := range found {
		if f.Severity == config.SeverityError {
			f.Severity = severity
		}
		c.findings = append(c.findings, f)
	}
}
