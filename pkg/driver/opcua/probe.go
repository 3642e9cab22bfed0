package opcua

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Offer is an endpoint that a server offers.
type Offer struct {
	URL    string   // as the server writes it; its host may not be reachable
	Policy string   // "Basic256Sha256"
	Mode   string   // "SignAndEncrypt"
	Users  []string // "anonymous", "user name", "certificate"
	Chosen bool     // a driver of this endpoint takes it
}

// Probed is what [Probe] has learned of a server.
type Probed struct {
	Offers     []Offer
	App        string    // application URI
	Thumbprint string    // of the server's certificate; "": it has none
	Subject    string    // of the certificate
	From, To   time.Time // when the certificate is valid
	Trust      error     // why the certificate is not believed; nil: it is, or there is none

	Session    error         // why there was no session; nil: there was one, and the fields below are known
	State      string        // "Running"
	Product    string        // name and version
	Started    time.Time     // zero: the server does not tell
	Clock      time.Duration // by how much the server's clock is ahead of ours
	Namespaces []string
}

// Probe asks a server what it offers, and then for a session. It fails if the server can't
// be reached or does not tell its endpoints. That there is no session is not an error:
// Probed.Session says why.
func Probe(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, opts Options) (*Probed, error) {
	c, err := newClient(ep, item, opts)
	if err != nil {
		return nil, err
	}
	ch, err := openChannel(ctx, ep, c.access.URL, security{policy: ua.SecurityPolicyURINone, mode: ua.MessageSecurityModeNone}, c.timeout)
	if err != nil {
		return nil, err
	}
	list, err := c.endpoints(ctx, ch)
	ch.goodbye()
	ch.close(errLeaving)
	if err != nil {
		return nil, err
	}
	p := new(Probed)
	chosen, chooseErr := c.access.choose(list)
	for _, e := range list {
		p.Offers = append(p.Offers, Offer{e.EndpointURL, policyName(e.SecurityPolicyURI), modeName(e.SecurityMode), users(e), e == chosen.EndpointDescription})
		if e.Server != nil {
			p.App = cmp.Or(p.App, e.Server.ApplicationURI)
		}
		if cert, err := leaf(e.ServerCertificate); err == nil && p.Thumbprint == "" {
			p.Thumbprint, p.Subject, p.From, p.To = Thumbprint(e.ServerCertificate), cert.Subject.String(), cert.NotBefore, cert.NotAfter
			p.Trust = c.check(offer{EndpointDescription: e})
		}
	}
	if p.Session = chooseErr; chooseErr == nil {
		p.Session = p.ask(ctx, ep, item, opts)
	}
	return p, nil
}

// users names the ways in which an endpoint takes users.
func users(e *ua.EndpointDescription) (out []string) {
	names := map[ua.UserTokenType]string{
		ua.UserTokenTypeAnonymous: "anonymous", ua.UserTokenTypeUserName: "user name", ua.UserTokenTypeCertificate: "certificate", ua.UserTokenTypeIssuedToken: "issued token",
	}
	for _, t := range e.UserIdentityTokens {
		out = append(out, names[t.TokenType])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ask opens a session and reads what the server says of itself.
func (p *Probed) ask(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, opts Options) error {
	s, err := Connect(ctx, ep, item, opts)
	if err != nil {
		return err
	}
	defer s.Close()
	p.Namespaces = s.namespaces
	values, err := readNodes(ctx, s.ask, []*ua.ReadValueID{valueOf(ua.NewNumericNodeID(0, idServerStatus))}, 1)
	if err != nil {
		return err
	}
	object, ok := values[0].Value.Value().(*ua.ExtensionObject)
	if !ok {
		return nil
	}
	var st ua.ServerStatusDataType
	if bodyOf(object, encServerStatus, &st) {
		p.State, p.Started, p.Clock = strings.TrimPrefix(st.State.String(), "ServerState"), st.StartTime, time.Until(st.CurrentTime)
		if st.BuildInfo != nil {
			p.Product = strings.TrimSpace(st.BuildInfo.ProductName + " " + st.BuildInfo.SoftwareVersion)
		}
	}
	return nil
}
