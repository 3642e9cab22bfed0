package gateway

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// DoctorOptions say where [Doctor] looks besides what the configuration names.
type DoctorOptions struct {
	Config string           // the path of gateway.yml
	Units  []string         // paths of systemd units that may run it; the first that is there counts
	Now    func() time.Time // nil: time.Now
}

// SystemUnits are where a unit of the service is looked for.
func SystemUnits() []string {
	return []string{"/etc/systemd/system/edge-gw.service", "/usr/lib/systemd/system/edge-gw.service", "/lib/systemd/system/edge-gw.service"}
}

// endsSoon is how long before its end a certificate is told of.
const endsSoon = 30 * 24 * time.Hour

// maxWalk bounds the files of data_dir whose owners are looked at.
const maxWalk = 10_000

// doctor gathers what is found about an installation.
type doctor struct {
	cfg   *bootstrap.Gateway
	opts  DoctorOptions
	found []center.Diagnosis
	owner uint32 // of data_dir, which is the gateway's user
	known bool
}

// Doctor examines an installation, running or not: its configuration as [Check] does, and
// the modes and owners of what it keeps, its sockets, unit, certificates, clock and disk. It
// changes nothing. Each diagnosis says what to do.
func Doctor(ctx context.Context, cfg *bootstrap.Gateway, opts DoctorOptions) []center.Diagnosis {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	d := &doctor{cfg: cfg, opts: opts}
	findings := Check(ctx, cfg)
	for _, f := range findings {
		health := center.Doubt
		if f.Severity == config.SeverityError {
			health = center.Sick
		}
		where := ""
		if f.File != "" {
			where = fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
		}
		d.found = append(d.found, center.Diagnosis{Check: f.Rule, Health: health, Message: where + f.Message})
	}
	if len(findings) == 0 {
		d.fine("config", "gateway.yml can be used")
	}
	d.configFile()
	d.dataDir()
	d.sockets()
	d.secretOwners()
	d.unit()
	d.certificates()
	d.time()
	d.disk()
	return d.found
}

func (d *doctor) add(h center.Health, check, format string, args ...any) {
	d.found = append(d.found, center.Diagnosis{Check: check, Health: h, Message: fmt.Sprintf(format, args...)})
}
func (d *doctor) fine(check, format string, args ...any) {
	d.add(center.Healthy, check, format, args...)
}
func (d *doctor) doubt(check, format string, args ...any) {
	d.add(center.Doubt, check, format, args...)
}
func (d *doctor) sick(check, format string, args ...any) { d.add(center.Sick, check, format, args...) }

// ownerOf returns the user whose a file is.
func ownerOf(fi fs.FileInfo) (uint32, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// configFile: whoever may write gateway.yml has the gateway's rights.
func (d *doctor) configFile() {
	fi, err := os.Stat(d.opts.Config)
	switch {
	case err != nil:
		d.sick("config-file", "%v", err)
	case fi.Mode().Perm()&0o022 != 0:
		d.sick("config-file", "%s has mode %04o: others can change what the gateway may do: chmod 0640", d.opts.Config, fi.Mode().Perm())
	default:
		d.fine("config-file", "%s, mode %04o", d.opts.Config, fi.Mode().Perm())
	}
}

// dataDir: everything in it must be the gateway's user's own. A file that root left there,
// by one start by hand, keeps the service from starting.
func (d *doctor) dataDir() {
	fi, err := os.Stat(d.cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		d.doubt("data-dir", "%s is not there: the gateway has not run here yet", d.cfg.DataDir)
		return
	}
	if err != nil {
		d.sick("data-dir", "%v", err)
		return
	}
	d.owner, d.known = ownerOf(fi)
	if mode := fi.Mode().Perm(); mode&0o022 != 0 {
		d.sick("data-dir", "%s has mode %04o: others can put files there that the gateway trusts: chmod 0700", d.cfg.DataDir, mode)
	}
	var foreign, open []string
	count := 0
	err = filepath.WalkDir(d.cfg.DataDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if count++; count > maxWalk {
			return filepath.SkipAll
		}
		fi, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone: the gateway is at work
		}
		if owner, ok := ownerOf(fi); ok && d.known && owner != d.owner {
			foreign = append(foreign, path)
		}
		if fi.Mode().IsRegular() && fi.Mode().Perm()&0o022 != 0 {
			open = append(open, path)
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		d.doubt("data-dir", "not all of %s can be looked at: %v; run the doctor as root or as the gateway's user", d.cfg.DataDir, err)
	case len(foreign) > 0:
		d.sick("data-owner", "%s in %s not owned by user %d, whose the directory is (%s): chown -R %d %s",
			words.Count(len(foreign), "file"), d.cfg.DataDir, d.owner, some(foreign), d.owner, d.cfg.DataDir)
	case len(open) > 0:
		d.sick("data-modes", "%s in %s can be written by others (%s): chmod -R go-w %s", words.Count(len(open), "file"), d.cfg.DataDir, some(open), d.cfg.DataDir)
	default:
		d.fine("data-dir", "%s, mode %04o, of user %d", d.cfg.DataDir, fi.Mode().Perm(), d.owner)
	}
}

// some shows the first of a list.
func some(list []string) string {
	if len(list) > 3 {
		return strings.Join(list[:3], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}

// sockets: the modes that they have, not those that they should have.
func (d *doctor) sockets() {
	if answers(d.cfg.Admin.Socket) {
		d.fine("running", "a gateway answers on %s", d.cfg.Admin.Socket)
	} else {
		d.doubt("running", "no gateway answers on %s: systemctl status edge-gw, or it runs with another configuration", d.cfg.Admin.Socket)
	}
	if fi, err := os.Stat(d.cfg.Admin.Socket); err == nil {
		want, parseErr := strconv.ParseUint(d.cfg.Admin.Mode, 8, 32)
		if got := fi.Mode().Perm(); parseErr == nil && got&^fs.FileMode(want) != 0 {
			d.sick("socket-mode", "%s has mode %04o, and admin.mode is %s: more users may use it than are meant: restart the gateway", d.cfg.Admin.Socket, got, d.cfg.Admin.Mode)
		}
		if owner, ok := ownerOf(fi); ok && d.known && owner != d.owner {
			d.sick("socket-owner", "%s is user %d's, and data_dir is user %d's: another program listens there, and gets what edge-ctl sends: stop it", d.cfg.Admin.Socket, owner, d.owner)
		}
	}
	if fi, err := os.Stat(center.EmbeddedSocket(d.cfg.DataDir)); err == nil && fi.Mode().Perm()&0o077 != 0 {
		d.sick("etcd-socket", "%s has mode %04o: others may change the configuration: restart the gateway", center.EmbeddedSocket(d.cfg.DataDir), fi.Mode().Perm())
	}
}

// secretOwners: a secret that another user owns is that user's to change.
func (d *doctor) secretOwners() {
	for _, dir := range []string{d.cfg.SecretsDir, d.cfg.Policy.SecretsDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there need not be any
		}
		for _, e := range entries {
			fi, err := e.Info()
			if err != nil {
				continue
			}
			if owner, ok := ownerOf(fi); ok && d.known && owner != d.owner && owner != 0 {
				d.sick("secret-owner", "%s is user %d's, who can change it: chown root it", filepath.Join(dir, e.Name()), owner)
			}
		}
	}
}

// hardening is what the unit that is shipped says, and what is at stake without.
var hardening = []struct{ key, value, why string }{
	{"UMask", "0077", "files may be born readable by others"},
	{"LimitCORE", "0", "a core dump holds secrets"},
	{"NoNewPrivileges", "yes", "a fault could gain rights"},
	{"ProtectSystem", "strict", "a fault could change the system"},
	{"Restart", "always", "a gateway that ends stays away"},
	{"StartLimitIntervalSec", "0", "systemd gives a gateway up that crashes a few times"},
}

// unit holds the unit of the service to what is shipped.
func (d *doctor) unit() {
	var text []byte
	var path string
	for _, path = range d.opts.Units {
		var err error
		if text, err = regular.ReadFile(path, 1<<20); err == nil {
			break
		}
	}
	if text == nil {
		d.fine("unit", "no systemd unit edge-gw.service is installed")
		return
	}
	set := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			set[key] = value
		}
	}
	before := len(d.found)
	if user := set["User"]; set["DynamicUser"] == "" && (user == "" || user == "root" || user == "0") {
		d.sick("unit-user", "%s runs the gateway as root: whoever finds a fault in it has the machine: User=edge-gw", path)
	}
	for _, h := range hardening {
		if set[h.key] != h.value {
			d.doubt("unit", "%s: %s=%s is missing: %s", path, h.key, h.value, h.why)
		}
	}
	if set["MemoryMax"] == "" {
		d.doubt("unit", "%s: MemoryMax= is missing: a gateway that needs too much memory takes the machine's", path)
	}
	if len(d.found) == before {
		d.fine("unit", "%s", path)
	}
}

// certificates looks at when those that the configuration names end.
func (d *doctor) certificates() {
	for _, v := range d.cfg.Values() {
		path, _ := v.Value.(string)
		if !v.File || path == "" {
			continue
		}
		text, err := regular.ReadFile(path, clienttls.MaxFile)
		if err != nil {
			continue // the check of the configuration tells
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				d.sick("certificate", "%s: %s: %v", v.Key, path, err)
				continue
			}
			d.certificate(v.Key, path, cert)
		}
	}
}

func (d *doctor) certificate(key, path string, cert *x509.Certificate) {
	now := d.opts.Now()
	name := cert.Subject.String()
	switch left := cert.NotAfter.Sub(now); {
	case left <= 0:
		d.sick("certificate-ended", "%s: %s (%s) ended at %s: replace it; the gateway reads it anew at the next connect", key, path, name, moment.Format(cert.NotAfter))
	case now.Before(cert.NotBefore):
		d.sick("certificate-early", "%s: %s (%s) begins at %s: is the clock right?", key, path, name, moment.Format(cert.NotBefore))
	case left < endsSoon:
		d.doubt("certificate-ends", "%s: %s (%s) ends in %s, at %s: replace it before", key, path, name, words.Count(int(left.Hours()/24), "day"), moment.Format(cert.NotAfter))
	default:
		d.fine("certificate", "%s: %s ends at %s", key, path, moment.Format(cert.NotAfter))
	}
}

// time looks at the clock, which every frame's timestamp is by.
func (d *doctor) time() {
	c := newClock(&d.cfg.Clock)
	c.now = d.opts.Now
	err := c.unset()
	synchronised, known := clockSynchronised()
	switch {
	case err != nil:
		d.sick("clock", "%v", err)
	case known && !synchronised:
		d.doubt("clock", "the kernel says that no time server sets the clock: install chrony, or systemctl enable --now systemd-timesyncd")
	default:
		d.fine("clock", "%s", moment.Format(d.opts.Now()))
	}
}

// disk looks whether the log may grow to what it is allowed to.
func (d *doctor) disk() {
	dir := existing(d.cfg.WALDir())
	var st syscall.Statfs_t // its files count too
	if err := syscall.Statfs(dir, &st); err != nil {
		d.sick("disk", "%s: %v", dir, err)
		return
	}
	log, err := bus.ParseConfig(d.cfg.Bus)
	if err != nil {
		return // the configuration's own check tells
	}
	var used uint64
	_ = filepath.WalkDir(d.cfg.WALDir(), func(_ string, e fs.DirEntry, err error) error { // what can't be read counts as nothing
		if err == nil && e.Type().IsRegular() {
			if fi, err := e.Info(); err == nil {
				used += uint64(fi.Size())
			}
		}
		return nil
	})
	free := st.Bavail * uint64(st.Bsize)
	need := log.WALMaxBytes + log.MinFree
	switch {
	case free+used < need:
		d.doubt("disk", "%s has %s free, and the log may take %s more and leave %s: when the broker is away, it is full before bus.wal_max_bytes is reached: lower that, or make room",
			dir, wholeMiB(free), wholeMiB(log.WALMaxBytes-min(used, log.WALMaxBytes)), config.Size(log.MinFree))
	case st.Files > 0 && st.Ffree < 1000:
		d.doubt("disk", "%s has room for %s: find what makes so many", dir, words.Count(st.Ffree, "more file"))
	default:
		d.fine("disk", "%s has %s free; the log takes %s of %s", dir, wholeMiB(free), wholeMiB(used), config.Size(log.WALMaxBytes))
	}
}
