package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/asking"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/options"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// device is what probe, scan and browse ask: over a connection of their own, or over
// that of a running gateway, which may be the only one that the device takes.
type device struct {
	protocol driver.Protocol
	name     string // of the ability
	ability  *driver.Ability
	args     driver.Args

	url    string          // without credentials
	item   config.Endpoint // as in the table
	dialed endpoint.URL    // what leads there
	pki    string          // the directory of the trust list

	client *admin.Client // nil: dialled from here
	owner  *pb.Endpoint  // of the gateway that asks; nil without client
}

// addDirectFlag gives cmd --direct.
func addDirectFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("direct", false, "dial the device from here, even if a running gateway polls it")
}

// askGateway bounds how long a gateway may take to say whether it has a device.
const askGateway = 5 * time.Second

// withDevice finds the device that args[0] names: the id of an endpoint of the running
// gateway, or a URL. A URL of a device that the gateway polls is asked through the
// gateway. args[1] is where the ability begins.
func withDevice(cmd *cobra.Command, ability string, args []string, use func(context.Context, device) error) error {
	protocol, err := cmd.Flags().GetString("protocol")
	if err != nil {
		return err
	}
	direct, err := cmd.Flags().GetBool("direct")
	if err != nil {
		return err
	}
	d := device{name: ability}
	if regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(args[0]) {
		return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
			proto, err := d.named(ctx, c, args[0], protocol)
			if err != nil {
				return err
			}
			alone, err := d.take(cmd, proto, args[1])
			if err != nil {
				return err
			}
			if direct || alone != "" {
				return cli.Usagef("%s is dialled by the gateway: for a connection from here give its URL, %s", args[0], d.owner.Url)
			}
			return use(ctx, d)
		})
	}
	proto, own, err := d.parse(args[0], protocol)
	if err != nil {
		return err
	}
	alone, err := d.take(cmd, proto, args[1])
	if err != nil {
		return err
	}
	if d.pki, err = pkiDir(cmd); err != nil {
		return err
	}
	if own || direct && d.dialed.Transport() != endpoint.Serial {
		return usage(use(cmd.Context(), d))
	}
	if direct {
		alone = cmp.Or(alone, "two masters on a line disturb each other")
	}
	return usage(d.shared(cmd, alone, use))
}

// take notes the protocol and what is asked of it. alone is why drivers must not use
// the device meanwhile, "" if they may.
func (d *device) take(cmd *cobra.Command, p driver.Protocol, argument string) (alone string, err error) {
	d.protocol, d.ability = p, p.Ability(d.name)
	if d.ability == nil {
		return "", cli.Usagef("%s: protocol %s has no %s; protocols that have: %s", d.url, p.Name, d.name, having(d.name))
	}
	d.args = options.Given(cmd.Flags(), d.ability.Options, argument)
	if d.ability.Check != nil {
		if err := d.ability.Check(d.args); err != nil {
			return "", usage(err)
		}
	}
	if d.ability.Alone != nil {
		alone = d.ability.Alone(d.args)
	}
	return alone, nil
}

// having names the protocols that have an ability.
func having(ability string) string {
	var names []string
	for _, p := range protocols.Builtin() {
		if p.Ability(ability) != nil {
			names = append(names, p.Name)
		}
	}
	return strings.Join(names, ", ")
}

// shared asks a device that the gateway may be polling.
func (d *device) shared(cmd *cobra.Command, alone string, use func(context.Context, device) error) error {
	client, err := cli.Dial(cmd)
	switch {
	case cmd.Context().Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded): // it may hold the device's only connection
		return unasked(err)
	case err != nil:
		if errors.Is(err, fs.ErrPermission) {
			cmd.PrintErrf("whether a gateway polls this device cannot be asked: %v\n", err)
		}
		return use(cmd.Context(), *d)
	}
	defer client.Close() //nolint:errcheck // every call has had its answer
	ep, polling, err := poller(cmd.Context(), client, d.dialed)
	switch {
	case err != nil:
		return unasked(err)
	case len(polling) == 0:
		return use(cmd.Context(), *d)
	case alone != "":
		return fmt.Errorf("the running gateway polls this device as endpoint %s, and %s: pause what polls it first: edge-ctl drivers pause %s",
			ep.Id, alone, strings.Join(polling, "; edge-ctl drivers pause "))
	}
	d.client, d.owner = client, ep
	return use(cmd.Context(), *d)
}

// unasked is the error where nobody can tell whether a gateway polls the device.
func unasked(err error) error {
	return fmt.Errorf("ask the running gateway whether it polls this device: %w; --direct dials it from here without asking", err)
}

// parse reads the URL of a device. own: its scheme is one that only its protocol has.
func (d *device) parse(text, protocol string) (p driver.Protocol, own bool, err error) {
	scheme, _, _ := strings.Cut(text, "://")
	list := protocols.Builtin()
	p, found := list.ForScheme(scheme)
	if protocol != "" {
		if p, found = list.Find(protocol); !found {
			return p, false, cli.Usagef("--protocol %s: expected one of %s", protocol, strings.Join(list.Names(), ", "))
		}
	}
	if found && p.Transport != nil {
		if _, own = p.Transport(config.Endpoint{Scheme: scheme}); own {
			return p, own, d.parseOwn(p, text)
		}
	}
	if d.dialed, err = endpoint.Parse(text); err != nil {
		return p, false, cli.Usagef("%s: %w", config.MaskUser(text), err)
	}
	if !found {
		return p, false, cli.Usagef("%s: no protocol is known for this scheme; name it with --protocol", d.dialed)
	}
	d.url = d.dialed.String()
	d.item.Scheme, d.item.Host, d.item.Port, d.item.Opts = d.dialed.Table()
	return p, false, nil
}

// parseOwn reads a URL of a scheme that only its protocol has:
// SCHEME://USER:PASSWORD@HOST:PORT/PATH?OPTION=VALUE.
func (d *device) parseOwn(p driver.Protocol, text string) error {
	d.url = config.MaskUser(text)
	u, err := url.Parse(text)
	if err != nil {
		return cli.Usagef("%s is not a URL", d.url)
	}
	d.item = config.Endpoint{Scheme: u.Scheme, Host: u.Hostname(), Opts: map[string]string{}}
	if d.item.Host == "" {
		return cli.Usagef("%s: expected %s://HOST:PORT", d.url, u.Scheme)
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return cli.Usagef("port %s: expected 1 to 65535", port)
		}
		d.item.Port = uint16(n)
	}
	for name, values := range u.Query() {
		d.item.Opts[name] = values[0]
	}
	if u.Path != "" && u.Path != "/" {
		d.item.Opts["path"] = u.Path
	}
	if u.User != nil {
		d.item.Opts["username"] = u.User.Username()
		d.item.Opts["password"], _ = u.User.Password()
	}
	below, _ := p.Transport(d.item)
	if d.dialed, err = endpoint.FromTable(below.Scheme, below.Host, below.Port, below.Opts); err != nil {
		return cli.Usagef("%s: %w", d.url, err)
	}
	return nil
}

// named finds the gateway's endpoint of that id, and its protocol.
func (d *device) named(ctx context.Context, c *admin.Client, id, protocol string) (driver.Protocol, error) {
	e, err := endpointNamed(ctx, c, id)
	if err == nil && protocol == "" {
		protocol, err = protocolOf(ctx, c, id)
	}
	if err != nil {
		return driver.Protocol{}, err
	}
	d.client, d.owner = c, e
	p, _, err := d.parse(e.Url, protocol)
	return p, err
}

// endpointNamed returns the gateway's endpoint of that id.
func endpointNamed(ctx context.Context, c *admin.Client, id string) (*pb.Endpoint, error) {
	list, err := endpoints(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if e.Id == id {
			return e, nil
		}
	}
	return nil, fmt.Errorf("endpoint %q: %w; 'edge-ctl endpoints' lists all; a device that the gateway does not know is named by its URL, such as tcp://192.168.10.5:502",
		id, errkind.NotFound)
}

// protocolOf returns the protocol of an endpoint's drivers, "" if it has none.
func protocolOf(ctx context.Context, c *admin.Client, endpoint string) (string, error) {
	list, err := drivers(ctx, c)
	for _, d := range list {
		if d.Endpoint == endpoint {
			return d.Proto, nil
		}
	}
	return "", err
}

// poller returns the gateway's endpoint that leads to u, and its drivers that are
// not paused.
func poller(ctx context.Context, c *admin.Client, u endpoint.URL) (ep *pb.Endpoint, polling []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askGateway)
	defer cancel()
	eps, err := endpoints(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	list, err := drivers(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range eps {
		have, err := endpoint.Parse(e.Url)
		if err != nil || !endpoint.SameDevice(u, have) { // an error: of a scheme that this release does not know
			continue
		}
		for _, d := range list {
			if d.Endpoint == e.Id && d.State != "paused" {
				ep, polling = e, append(polling, d.Id)
			}
		}
	}
	return ep, polling, nil
}

// tell says that the gateway asks.
func (d *device) tell(cmd *cobra.Command) {
	if d.client != nil {
		cmd.PrintErrf("asked by the gateway, over its own connection: endpoint %s, %s\n", d.owner.Id, d.owner.Url)
	}
}

// ask runs the ability, over the gateway or directly. The steps are those on the way.
func (d *device) ask(ctx context.Context, emit func(driver.Event) error) ([]driver.Step, driver.Report, error) {
	if d.client == nil {
		return d.askDirect(ctx, emit)
	}
	var j journey
	if d.name == driver.AbilityProbe && d.dialed.Transport() != endpoint.Serial {
		_ = j.find(ctx, d.dialed.Host(), d.dialed.Port()) // a stage; the gateway may have another way
	}
	began := time.Now()
	r, err := asking.Ask(ctx, d.client, &pb.AskEndpointRequest{
		Endpoint: d.owner.Id, Ability: d.name, Protocol: d.protocol.Name, Argument: d.args.Argument, Options: d.args.Options,
	}, emit)
	if err != nil {
		j.steps = append(j.steps, driver.Step{Name: "gateway", Took: time.Since(began), Error: err.Error()})
	}
	return j.steps, r, err
}

// clientName is what edge-ctl calls itself to devices.
const clientName = "edge-ctl"

func (d *device) askDirect(ctx context.Context, emit func(driver.Event) error) ([]driver.Step, driver.Report, error) {
	if own := ownPKI(); d.pki == "" && d.protocol.Trust != nil && own != "" && os.MkdirAll(own, 0o700) == nil {
		d.pki = own
	}
	if d.pki == "" { // nothing is trusted then
		dir, err := os.MkdirTemp("", "edge-ctl-pki-")
		if err != nil {
			return nil, driver.Report{}, err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // what is left there is no secret of the gateway's
		d.pki = dir
	}
	way := &wayThere{url: d.dialed}
	r, err := d.ability.Run(ctx, driver.Target{
		Item: d.item, Endpoint: way, Dial: d.dialWith, Name: clientName, PKI: d.pki,
		Secret: func(reference, _ string) (string, error) { return secret(reference) },
	}, d.args, emit)
	return way.steps, r, err
}

// dialWith dials the device with other options.
func (d *device) dialWith(ctx context.Context, opts map[string]string) (net.Conn, error) {
	u, err := endpoint.FromTable(d.item.Scheme, d.item.Host, d.item.Port, opts)
	if err != nil {
		return nil, err
	}
	return endpoint.Dial(ctx, u, endpoint.DialOptions{Secret: secret})
}

// secret resolves references in a URL given by hand: from the environment only.
func secret(reference string) (string, error) {
	name, env := strings.CutPrefix(strings.TrimSuffix(reference, "}"), "${env:")
	if !env {
		return "", fmt.Errorf("%s: on the command line only ${env:NAME} is possible", reference)
	}
	v, ok := os.LookupEnv(name)
	if !ok {
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return v, nil
}
