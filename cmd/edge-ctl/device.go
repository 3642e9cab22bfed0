package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// device is what probe and scan ask: over a connection of their own, or over that
// of a running gateway, which may be the only one that the device takes.
type device struct {
	to     target
	client *admin.Client // nil: dialled from here
	owner  *pb.Endpoint  // of the gateway that asks; nil without client
}

// addDirectFlag gives cmd --direct.
func addDirectFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("direct", false, "dial the device from here, even if a running gateway polls it")
}

// askGateway bounds how long a gateway may take to say whether it has a device.
const askGateway = 5 * time.Second

// withDevice finds the device that text names: the id of an endpoint of the
// running gateway, or a URL. A URL of a device that the gateway polls is asked
// through the gateway. own says why the command needs the device for itself, ""
// if it does not.
func withDevice(cmd *cobra.Command, text, own string, use func(context.Context, device) error) error {
	direct, err := cmd.Flags().GetBool("direct")
	if err != nil {
		return err
	}
	if regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(text) {
		return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
			d, err := named(ctx, c, text)
			if err != nil {
				return err
			}
			if direct || own != "" {
				return cli.Usagef("%s is dialled by the gateway: for a connection from here give its URL, %s", text, d.owner.Url)
			}
			return use(ctx, d)
		})
	}
	to, err := parseTarget(text)
	if err != nil {
		return err
	}
	d := device{to: to}
	serial := to.url.Transport() == endpoint.Serial
	if direct && !serial {
		return use(cmd.Context(), d)
	}
	if direct && own == "" {
		own = "two masters on a line disturb each other"
	}
	client, err := cli.Dial(cmd)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			cmd.PrintErrf("whether a gateway polls this device cannot be asked: %v\n", err)
		}
		return use(cmd.Context(), d)
	}
	defer client.Close() //nolint:errcheck // every call has had its answer
	ep, polling, err := poller(cmd.Context(), client, to.url)
	switch {
	case err != nil:
		return fmt.Errorf("ask the running gateway whether it polls this device: %w; --direct dials it from here without asking", err)
	case len(polling) == 0:
		return use(cmd.Context(), d)
	case own != "":
		return fmt.Errorf("the running gateway polls this device as endpoint %s, and %s: pause what polls it first: edge-ctl drivers pause %s",
			ep.Id, own, strings.Join(polling, "; edge-ctl drivers pause "))
	}
	d.client, d.owner = client, ep
	return use(cmd.Context(), d)
}

// named returns the endpoint of that id.
func named(ctx context.Context, c *admin.Client, id string) (device, error) {
	list, err := endpoints(ctx, c)
	if err != nil {
		return device{}, err
	}
	for _, e := range list {
		if e.Id == id {
			to, err := parseTarget(e.Url)
			return device{to: to, client: c, owner: e}, err
		}
	}
	return device{}, fmt.Errorf("endpoint %q: %w; 'edge-ctl endpoints' lists all; a device that the gateway does not know is named by its URL, such as tcp://192.168.10.5:502",
		id, admin.ErrNotFound)
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

// probe asks one question, over the gateway or directly.
func (d *device) probe(ctx context.Context, q modbus.Question) (modbus.Answer, []stage, error) {
	if d.client == nil {
		return probeDirect(ctx, d.to, q)
	}
	var j journey
	if u, err := endpoint.Parse(d.owner.Url); err == nil && u.Transport() != endpoint.Serial {
		_ = j.find(ctx, u.Host(), u.Port()) // a stage; the gateway may have another way
	}
	began := time.Now()
	a, err := d.client.Endpoints.ProbeModbus(ctx, &pb.ProbeModbusRequest{Endpoint: d.owner.Id, Question: wireQuestion(q)})
	if err != nil {
		return modbus.Answer{}, append(j.stages, stage{Name: "gateway", Ms: ms(time.Since(began)), Error: err.Error()}), err
	}
	out := modbus.Answer{
		Connect: a.GetConnect().AsDuration(), Took: a.GetTook().AsDuration(), Addr: uint16(a.Address), Count: uint16(a.Count), Data: a.Data, Hints: a.Hints,
	}
	if a.Refusal != "" {
		out.Err = errors.New(a.Refusal)
	}
	return out, append(j.stages, stage{Name: "gateway", Ms: ms(out.Connect), Text: "waited for its turn on the connection, or for a new one"}), nil
}

func wireQuestion(q modbus.Question) *pb.ModbusQuestion {
	m := &pb.ModbusQuestion{
		Unit: uint32(q.Unit), Function: uint32(q.Func), Address: uint32(q.Addr), Count: uint32(q.Count), Framing: string(q.Framing), Around: q.Around,
	}
	if q.Timeout != 0 {
		m.Timeout = durationpb.New(q.Timeout)
	}
	return m
}
