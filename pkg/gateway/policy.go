package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// errPolicy marks what the policy of gateway.yml does not allow.
var errPolicy = errors.New("the policy in gateway.yml does not allow it")

// policy says what tables may use of this machine and its network. Whoever may push
// tables has not the gateway's rights, and must not get them by what it does in his
// name: connect, open devices, read files, send secrets.
type policy struct {
	cfg     bootstrap.Policy
	hosts   []target
	secrets map[string][]target // by the name in the reference
	files   config.Secrets
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
}

// newPolicy reads the policy of gateway.yml. The error names the setting.
func newPolicy(cfg *bootstrap.Gateway) (*policy, error) {
	p := &policy{
		cfg: cfg.Policy, secrets: map[string][]target{}, files: config.Secrets{Dir: cfg.Policy.SecretsDir},
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
	}
	var err error
	if p.hosts, err = parseTargets(cfg.Policy.Hosts); err != nil {
		return nil, fmt.Errorf("policy.hosts: %w", err)
	}
	for name, targets := range cfg.Policy.Secrets {
		if !secretName.MatchString(name) {
			return nil, fmt.Errorf("policy.secrets.%s: expected the name of a file in policy.secrets_dir, or EDGE_SECRET_NAME", name)
		}
		if p.secrets[name], err = parseTargets(targets); err != nil {
			return nil, fmt.Errorf("policy.secrets.%s: %w", name, err)
		}
	}
	for _, glob := range cfg.Policy.Serial {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fmt.Errorf("policy.serial: %q is not a glob: %w", glob, err)
		}
	}
	return p, nil
}

var secretName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// target is one place that may be connected to: a network, or a name or address with
// or without a port.
type target struct {
	network netip.Prefix // zero: a name
	name    string       // a glob, in lower case
	port    string       // "": any
}

func parseTargets(texts []string) ([]target, error) {
	out := make([]target, 0, len(texts))
	for _, text := range texts {
		t, err := parseTarget(text)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func parseTarget(text string) (target, error) {
	if network, err := netip.ParsePrefix(text); err == nil {
		return target{network: network.Masked()}, nil
	}
	host, port := text, ""
	if h, p, err := net.SplitHostPort(text); err == nil {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil {
			return target{}, fmt.Errorf("%q: %q is not a port", text, p)
		}
		host, port = h, p
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return target{network: netip.PrefixFrom(ip, ip.BitLen()), port: port}, nil
	}
	if _, err := path.Match(host, ""); err != nil || host == "" || strings.ContainsAny(host, "/:@ ") {
		return target{}, fmt.Errorf("%q: expected a network such as 10.1.0.0/16, or an address or a name, such as 10.1.1.5:502 or *.plant.example", text)
	}
	return target{name: strings.ToLower(host), port: port}, nil
}

// byName reports whether a host is allowed by its name or, if it is an address, by
// that.
func byName(targets []target, host, port string) bool {
	ip, err := netip.ParseAddr(host)
	if err == nil {
		return byAddress(targets, ip, port)
	}
	return slices.ContainsFunc(targets, func(t target) bool {
		ok, err := path.Match(t.name, strings.ToLower(host))
		return t.name != "" && ok && err == nil && (t.port == "" || t.port == port)
	})
}

func byAddress(targets []target, ip netip.Addr, port string) bool {
	return slices.ContainsFunc(targets, func(t target) bool {
		return t.name == "" && t.network.Contains(ip.Unmap().WithZone("")) && (t.port == "" || t.port == port)
	})
}

// Target implements [endpoint.Guard]. A name that is not allowed as such is looked up
// here, so that what is allowed is what is connected to.
func (p *policy) Target(ctx context.Context, u endpoint.URL, address string) (string, error) {
	if !u.Network() {
		return address, p.device(address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || len(p.hosts) == 0 || byName(p.hosts, host, port) {
		return address, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", fmt.Errorf("%w: %s is not one of policy.hosts", errPolicy, address)
	}
	ips, err := p.lookup(ctx, host)
	if err != nil {
		return "", err
	}
	for _, ip := range ips {
		if byAddress(p.hosts, ip, port) {
			return net.JoinHostPort(ip.Unmap().String(), port), nil
		}
	}
	return "", fmt.Errorf("%w: %s is not one of policy.hosts, nor is any of its addresses in one of their networks", errPolicy, address)
}

func (p *policy) device(name string) error {
	if len(p.cfg.Serial) == 0 {
		return nil
	}
	for _, glob := range p.cfg.Serial {
		if ok, err := path.Match(glob, path.Clean(name)); ok && err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is not one of policy.serial", errPolicy, name)
}

// File implements [endpoint.Guard]. The file that a path leads to counts, not the path's
// text.
func (p *policy) File(name string) error {
	if len(p.cfg.Certificates) == 0 {
		return nil
	}
	refused := fmt.Errorf("%w: certificates and keys of tables must be in one of policy.certificates", errPolicy)
	if !p.inside(filepath.Clean(name)) {
		return refused
	}
	real, err := filepath.EvalSymlinks(name)
	if err == nil && !p.inside(real) {
		return refused
	}
	return nil // one that isn't there is not read
}

func (p *policy) inside(name string) bool {
	return slices.ContainsFunc(p.cfg.Certificates, func(dir string) bool {
		if real, err := filepath.EvalSymlinks(dir); err == nil && below(real, name) {
			return true
		}
		return below(dir, name)
	})
}

func below(dir, name string) bool {
	rel, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(rel)
}

// Secret implements [endpoint.Guard].
func (p *policy) Secret(reference, address string) (string, error) {
	if err := p.mayUse(reference, address); err != nil {
		return "", err
	}
	return p.files.Resolve(reference)
}

// mayUse says why a secret is not sent to an address. It is the same whether there is
// such a secret or not.
func (p *policy) mayUse(reference, address string) error {
	_, name, _ := strings.Cut(strings.TrimSuffix(reference, "}"), ":")
	host, port, err := net.SplitHostPort(address)
	if err == nil && byName(p.secrets[name], host, port) {
		return nil
	}
	return fmt.Errorf("%w: a table uses secrets of policy.secrets_dir (%s) only, and each only for the targets that policy.secrets names for it; "+
		"if %s is meant for %s, put it there and write  policy: {secrets: {%s: [%q]}}  into gateway.yml", errPolicy, p.cfg.SecretsDir, reference, address, name, address)
}

// check says what is known to be against the policy before anything is dialled.
func (p *policy) check(u endpoint.URL) error {
	o := u.Options()
	var errs []error
	addresses := []string{u.Address()}
	if o.Backup != "" {
		addresses = append(addresses, o.Backup)
	}
	for _, address := range addresses {
		if !u.Network() {
			errs = append(errs, p.device(address))
			continue
		}
		host, port, err := net.SplitHostPort(address)
		ip, notIP := netip.ParseAddr(host)
		switch {
		case err != nil || len(p.hosts) == 0:
		case notIP == nil && !byAddress(p.hosts, ip, port):
			errs = append(errs, fmt.Errorf("%w: %s is not one of policy.hosts", errPolicy, address))
		case notIP != nil && !byName(p.hosts, host, port) && !slices.ContainsFunc(p.hosts, func(t target) bool { return t.name == "" }):
			errs = append(errs, fmt.Errorf("%w: %s is not one of policy.hosts", errPolicy, address))
		}
		if ref := u.Reference(); ref != "" {
			errs = append(errs, p.mayUse(ref, address))
		}
	}
	for _, name := range []string{o.CA, o.ClientCert, o.ClientKey} {
		if name != "" {
			errs = append(errs, p.File(name))
		}
	}
	return errors.Join(errs...)
}
