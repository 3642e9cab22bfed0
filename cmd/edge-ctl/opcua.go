package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// isOPCUA reports whether a URL leads to an OPC UA server.
func isOPCUA(text string) bool { return strings.HasPrefix(text, opcua.Scheme+"://") }

// parseServer reads the URL of an OPC UA server: opc.tcp://USER:PASSWORD@HOST:PORT/PATH?OPTION=VALUE.
func parseServer(text string) (config.Endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		return config.Endpoint{}, cli.Usagef("%s: it is no URL", config.MaskUser(text))
	}
	item := config.Endpoint{Scheme: u.Scheme, Host: u.Hostname(), Opts: map[string]string{}}
	if item.Host == "" {
		return item, cli.Usagef("%s: expected %s://HOST:PORT", config.MaskUser(text), opcua.Scheme)
	}
	if p := u.Port(); p != "" {
		port, err := strconv.ParseUint(p, 10, 16)
		if err != nil || port == 0 {
			return item, cli.Usagef("port %s: expected 1 to 65535", p)
		}
		item.Port = uint16(port)
	}
	for name, values := range u.Query() {
		item.Opts[name] = values[0]
	}
	if u.Path != "" && u.Path != "/" {
		item.Opts["path"] = u.Path
	}
	if u.User != nil {
		item.Opts["username"] = u.User.Username()
		item.Opts["password"], _ = u.User.Password()
	}
	return item, nil
}

// addPKIFlag gives cmd --pki.
func addPKIFlag(cmd *cobra.Command) {
	cmd.Flags().String("pki", "", "the trust list's `directory` (default: pki beside the gateway's admin socket, else below /var/lib/edge-gw)")
}

// pkiDir returns the directory of the trust list, "" if there is none.
func pkiDir(cmd *cobra.Command) (string, error) {
	if dir, err := cmd.Flags().GetString("pki"); err != nil || dir != "" {
		return dir, err
	}
	var near []string
	if socket, err := cmd.Flags().GetString("socket"); err == nil && socket != "" {
		near = append(near, socket)
	}
	for _, socket := range append(near, admin.DefaultSockets()...) {
		dir := filepath.Join(filepath.Dir(socket), "pki")
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", nil
}

// withServer hands use the way to the server of a URL.
func withServer(cmd *cobra.Command, text string, use func(context.Context, endpoint.Acquirer, config.Endpoint, opcua.Options) error) error {
	item, err := parseServer(text)
	if err != nil {
		return err
	}
	dir, err := pkiDir(cmd)
	if err != nil {
		return err
	}
	if dir == "" { // nothing is trusted then
		if dir, err = os.MkdirTemp("", "edge-ctl-pki-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // what is left there is no secret of the gateway's
	}
	tcp, _ := opcua.Transport(item)
	u, err := endpoint.FromTable(tcp.Scheme, tcp.Host, tcp.Port, tcp.Opts)
	if err != nil {
		return cli.Usagef("%s: %w", config.MaskUser(text), err)
	}
	pool, err := endpoint.NewPool(endpoint.PoolOptions{Secret: secret})
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // its connections have been given up
	h, err := pool.Open("server", u)
	if err != nil {
		return err
	}
	return use(ctx, h, item, opcua.Options{PKI: opcua.NewPKI(dir, "edge-ctl"), Name: "edge-ctl", Secret: func(reference, _ string) (string, error) { return secret(reference) }})
}

// serverResult is what probe prints of an OPC UA server.
type serverResult struct {
	URL         string        `json:"url"`
	Application string        `json:"application,omitempty"`
	Endpoints   []serverOffer `json:"endpoints"`
	Certificate *certificate  `json:"certificate,omitempty"`
	Trust       string        `json:"trust,omitempty"` // "trusted", or why it is not
	Session     string        `json:"session"`         // "ok", or why there is none
	State       string        `json:"state,omitempty"`
	Product     string        `json:"product,omitempty"`
	Started     *time.Time    `json:"started,omitempty"`
	ClockMs     float64       `json:"clock_ms"` // by how much the server's clock is ahead
	Namespaces  []string      `json:"namespaces,omitempty"`
}

type serverOffer struct {
	URL    string   `json:"url"`
	Policy string   `json:"security_policy"`
	Mode   string   `json:"security_mode"`
	Users  []string `json:"users"`
	Chosen bool     `json:"chosen"`
}

type certificate struct {
	Thumbprint string    `json:"thumbprint"`
	Subject    string    `json:"subject"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Folder     string    `json:"folder,omitempty"`
	File       string    `json:"file,omitempty"`
}

// probeServer asks an OPC UA server what it offers and what it is.
func probeServer(cmd *cobra.Command, text string) error {
	return withServer(cmd, text, func(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, opts opcua.Options) error {
		p, err := opcua.Probe(ctx, ep, item, opts)
		if err != nil {
			return err
		}
		out := serverResult{URL: config.MaskUser(text), Application: p.App, Endpoints: []serverOffer{}, Session: "ok", State: p.State, Product: p.Product,
			ClockMs: ms(p.Clock), Namespaces: p.Namespaces}
		for _, o := range p.Offers {
			out.Endpoints = append(out.Endpoints, serverOffer{o.URL, o.Policy, o.Mode, o.Users, o.Chosen})
		}
		if p.Thumbprint != "" {
			out.Certificate = &certificate{Thumbprint: p.Thumbprint, Subject: p.Subject, From: p.From, To: p.To}
			out.Trust = "trusted"
		}
		if p.Trust != nil {
			out.Trust = p.Trust.Error()
		}
		if p.Session != nil {
			out.Session = p.Session.Error()
		}
		if !p.Started.IsZero() {
			out.Started = &p.Started
		}
		if err := cli.NewOutput(cmd).Print(out, func(t *cli.Table) { serverTable(cmd, t, &out) }); err != nil {
			return err
		}
		if p.Session != nil {
			return cli.Exit(cli.Failed, errors.New("the server is reached, but gives no session"))
		}
		return nil
	})
}

func serverTable(cmd *cobra.Command, t *cli.Table, r *serverResult) {
	t.Header("SECURITY POLICY", "MODE", "USERS", "CHOSEN", "URL")
	for _, o := range r.Endpoints {
		chosen := ""
		if o.Chosen {
			chosen = "*"
		}
		t.Row(o.Policy, o.Mode, strings.Join(o.Users, ", "), chosen, o.URL)
	}
	line := func(name, value string) {
		if value != "" {
			cmd.PrintErrf("%-12s %s\n", name, value)
		}
	}
	line("application", r.Application)
	if c := r.Certificate; c != nil {
		line("certificate", fmt.Sprintf("%s, %s, valid %s to %s", c.Thumbprint, c.Subject, c.From.Format(time.DateOnly), c.To.Format(time.DateOnly)))
		line("trust", r.Trust)
	}
	line("session", r.Session)
	if r.State != "" {
		line("server", fmt.Sprintf("%s, %s, its clock is %.0f ms ahead", r.State, r.Product, r.ClockMs))
	}
	for i, ns := range r.Namespaces {
		line(fmt.Sprintf("namespace %d", i), ns)
	}
}

// browsed is a node as browse prints it.
type browsed struct {
	Path   string `json:"path"`
	Node   string `json:"node"`
	Stable string `json:"stable"`
	Class  string `json:"class"`
	Type   string `json:"type,omitempty"`
	Access string `json:"access,omitempty"`
	Value  string `json:"value,omitempty"`
	Seen   bool   `json:"seen,omitempty"`
}

func newBrowse() *cobra.Command {
	var depth int
	var filter string
	cmd := &cobra.Command{
		Use:   "browse URL [NODE]",
		Short: "List the nodes of an OPC UA server",
		Long: `browse walks through the nodes of an OPC UA server from NODE on (default: the folder
Objects), and shows types, access rights and values of variables. Each node is
listed once below each parent; where it was listed before, browse does not go down
again.

With -o csv it writes what 'edge-cfg import FILE.csv --into DIR --driver ID' reads:
a line for each variable. With --stable the nodes have their namespace's URI, which
survives a restart of the server; its index may not.`,
		Example: `  edge-ctl browse opc.tcp://192.168.10.20:4840
  edge-ctl browse opc.tcp://192.168.10.20:4840 /Objects/2:Line \
    --filter '*Temp*' -o csv > points.csv`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !isOPCUA(args[0]) {
				return cli.Usagef("%s: expected the URL of an OPC UA server, such as %s://192.168.10.20:4840", config.MaskUser(args[0]), opcua.Scheme)
			}
			start, err := opcua.ParseNode(append(args, "/Objects")[1])
			if err != nil {
				return cli.Usagef("%w", err)
			}
			return browse(cmd, args[0], start, depth, filter)
		},
	}
	cmd.Flags().IntVar(&depth, "depth", 0, "levels below NODE (default: all)")
	cmd.Flags().StringVar(&filter, "filter", "", "only variables whose name matches this `glob`")
	cmd.Flags().Bool("stable", false, "csv: nodes with their namespace's URI instead of its index")
	addPKIFlag(cmd)
	cli.AddOutputFlag(cmd, cli.FormatTable, cli.FormatJSON, "csv")
	return cmd
}

func browse(cmd *cobra.Command, target string, start opcua.Node, depth int, filter string) error {
	return withServer(cmd, target, func(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, opts opcua.Options) error {
		s, err := opcua.Connect(ctx, ep, item, opts)
		if err != nil {
			return err
		}
		defer s.Close()
		out := cli.NewOutput(cmd)
		found := []browsed{}
		o := opcua.BrowseOptions{Depth: depth, Filter: filter, Values: true, Found: func(f opcua.Found) error {
			found = append(found, browsed{f.Path, f.Node, f.Stable, f.Class, f.Type, f.Access, f.Value, f.Seen})
			return nil
		}}
		finish := func() error { return nil }
		if out.Format == "csv" {
			stable, err := cmd.Flags().GetBool("stable")
			if err != nil {
				return err
			}
			o.Found, finish = csvNodes(out.Writer(), start, stable)
		}
		if cli.IsTerminal(cmd.ErrOrStderr()) {
			o.Seen = func(nodes, waiting int) { cmd.PrintErrf("\r%d nodes, %d to look into \x1b[K", nodes, waiting) }
			defer cmd.PrintErr("\r\x1b[K")
		}
		if err := s.Browse(ctx, start, o); err != nil {
			return err
		}
		if out.Format == "csv" {
			return finish()
		}
		return out.Print(found, func(t *cli.Table) {
			t.Header("PATH", "NODE", "CLASS", "TYPE", "ACCESS", "VALUE")
			for _, f := range found {
				t.Row(f.Path, f.Node, f.Class, f.Type, f.Access, f.Value)
			}
		})
	})
}

// csvNodes writes variables as edge-cfg import reads them.
func csvNodes(w io.Writer, start opcua.Node, stable bool) (each func(opcua.Found) error, finish func() error) {
	out := csv.NewWriter(w)
	header := out.Write([]string{"tag", "access", "type", "node", "datatype"})
	prefix := strings.TrimPrefix(start.String(), "/Objects")
	if !strings.HasPrefix(prefix, "/") {
		prefix = ""
	}
	each = func(f opcua.Found) error {
		t := datatypeOf(f.Type)
		if f.Class != "Variable" || f.Seen || t == "" || f.Access == "" {
			return nil
		}
		node := f.Node
		if stable {
			node = f.Stable
		}
		return out.Write([]string{tagOf(prefix + f.Path), f.Access, string(config.AddrOPCNode), node, t})
	}
	return each, func() error {
		out.Flush()
		return errors.Join(header, out.Error())
	}
}

// datatypeOf returns the datatype that reads values of an OPC UA type, "" for what is
// no value that a variable can have.
func datatypeOf(t string) string {
	switch t {
	case "":
		return ""
	case "Boolean":
		return string(config.TypeBool)
	case "SByte":
		return string(config.TypeInt8)
	case "Byte":
		return string(config.TypeUint8)
	case "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64":
		return strings.ToLower(t)
	case "Float":
		return string(config.TypeFloat32)
	case "Double":
		return string(config.TypeFloat64)
	case "ByteString":
		return string(config.TypeBinary)
	case "ExtensionObject":
		return ""
	}
	return string(config.TypeString)
}

// tagOf makes a tag of a path: the names without their namespaces, joined by dots.
func tagOf(path string) string {
	var names []string
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if i := strings.IndexByte(name, ':'); i > 0 && strings.Trim(name[:i], "0123456789") == "" {
			name = name[i+1:]
		}
		names = append(names, strings.Map(func(c rune) rune {
			if strings.ContainsRune("/#+$&. \t", c) {
				return '_'
			}
			return c
		}, name))
	}
	return strings.Join(names, ".")
}

func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Show and change which OPC UA servers are trusted",
		Long: `pki works on the trust list of a gateway, the folder pki below its data_dir: own,
trusted, issuers, crl and rejected. A certificate is named by its thumbprint, of
which the first digits are enough, or by its file. Changes count at the next attempt
to connect; the gateway needn't be told.`,
		Example: `  edge-ctl pki list
  edge-ctl pki trust 3f2a91`,
	}
	cmd.AddCommand(
		pkiCommand("list", "List the certificates", cobra.NoArgs, func(p *opcua.PKI, _ string) ([]opcua.Entry, string, error) {
			list, err := p.List()
			return list, "", err
		}),
		pkiCommand("show CERTIFICATE", "Show one certificate", cobra.ExactArgs(1), func(p *opcua.PKI, name string) ([]opcua.Entry, string, error) {
			e, err := p.Find(name)
			return []opcua.Entry{e}, "", err
		}),
		pkiCommand("trust CERTIFICATE", "Trust a certificate", cobra.ExactArgs(1), func(p *opcua.PKI, name string) ([]opcua.Entry, string, error) {
			e, err := p.Trust(name)
			return []opcua.Entry{e}, "is trusted", err
		}),
		pkiCommand("reject CERTIFICATE", "Trust a certificate no more", cobra.ExactArgs(1), func(p *opcua.PKI, name string) ([]opcua.Entry, string, error) {
			e, err := p.Reject(name)
			return []opcua.Entry{e}, "is rejected", err
		}),
	)
	return cmd
}

func pkiCommand(use, short string, args cobra.PositionalArgs, do func(p *opcua.PKI, name string) ([]opcua.Entry, string, error)) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args, Example: "  edge-ctl pki " + strings.Replace(use, "CERTIFICATE", "3f2a91", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := pkiDir(cmd)
			if err != nil {
				return err
			}
			if dir == "" {
				return fmt.Errorf("pki %s: no trust list was found; name its directory with --pki DATA_DIR/pki", name)
			}
			list, what, err := do(opcua.NewPKI(dir, ""), append(args, "")[0])
			if err != nil {
				return err
			}
			if what != "" {
				cmd.PrintErrf("%s %s\n", list[0].Cert.Subject, what)
			}
			out := []certificate{}
			for _, e := range list {
				out = append(out, certificate{e.Thumbprint, e.Cert.Subject.String(), e.Cert.NotBefore, e.Cert.NotAfter, e.Folder, e.File})
			}
			return cli.NewOutput(cmd).Print(out, func(t *cli.Table) {
				t.Header("FOLDER", "THUMBPRINT", "SUBJECT", "ENDS")
				for _, c := range out {
					t.Row(c.Folder, c.Thumbprint, c.Subject, c.To.Format(time.DateOnly))
				}
			})
		},
	}
	addPKIFlag(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}
