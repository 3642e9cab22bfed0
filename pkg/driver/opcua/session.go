package opcua

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// client knows how a server is reached and how we show ourselves to it.
type client struct {
	access  *Access
	ep      endpoint.Acquirer
	opts    Options
	name    string // of the session
	timeout time.Duration
	step    func(name string, err error) // told of each step and how it ended
}

// offer is an endpoint of the server that suits us, and what it asks of a user.
type offer struct {
	*ua.EndpointDescription
	token *ua.UserTokenPolicy
}

// Errors of choosing among the server's endpoints.
var (
	errNoEndpoint = errors.New("the server has no endpoint that suits")
	errNoToken    = errors.New("the server takes no such user")
	errDowngrade  = errors.New("somebody between us and the server hides its safer endpoints")
)

// strength orders policies, and modes within them. 0 is refused.
func strength(policy string, mode ua.MessageSecurityMode) int {
	order := []string{ua.SecurityPolicyURINone, ua.SecurityPolicyURIAes128Sha256RsaOaep, ua.SecurityPolicyURIBasic256Sha256, ua.SecurityPolicyURIAes256Sha256RsaPss}
	i := slices.Index(order, policy)
	switch {
	case i < 0, (i == 0) != (mode == ua.MessageSecurityModeNone):
		return 0
	case i == 0:
		return 1
	case mode == ua.MessageSecurityModeSignAndEncrypt:
		return 20 + i
	case mode == ua.MessageSecurityModeSign:
		return 10 + i
	}
	return 0
}

// policyName is the last part of a policy's URI.
func policyName(uri string) string { return uri[strings.LastIndexByte(uri, '#')+1:] }

func modeName(m ua.MessageSecurityMode) string {
	return strings.TrimPrefix(m.String(), "MessageSecurityMode")
}

const transportProfile = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"

// choose returns the strongest endpoint that the configuration allows.
func (a *Access) choose(list []*ua.EndpointDescription) (offer, error) {
	var best *ua.EndpointDescription
	var have []string
	var tokens bool
	for _, e := range list {
		if e.TransportProfileURI != "" && e.TransportProfileURI != transportProfile {
			continue
		}
		have = append(have, policyName(e.SecurityPolicyURI)+"/"+modeName(e.SecurityMode))
		s := strength(e.SecurityPolicyURI, e.SecurityMode)
		if s == 0 || a.Policy != "" && e.SecurityPolicyURI != a.Policy || a.Mode != ua.MessageSecurityModeInvalid && e.SecurityMode != a.Mode ||
			a.Policy == "" && s == 1 {
			continue
		}
		if a.token(e) == nil {
			tokens = true
			continue
		}
		if best == nil || s > strength(best.SecurityPolicyURI, best.SecurityMode) {
			best = e
		}
	}
	if best != nil {
		return offer{best, a.token(best)}, nil
	}
	slices.Sort(have)
	switch {
	case tokens:
		return offer{}, fmt.Errorf("%w: as %s; see opts.username, opts.user_cert", errNoToken, a.user())
	case a.Policy == "" && slices.Contains(have, "None/None"):
		return offer{}, fmt.Errorf("%w: there is %s; a connection without security must be asked for: opts.security_policy: None",
			errNoEndpoint, strings.Join(slices.Compact(have), ", "))
	}
	return offer{}, fmt.Errorf("%w: there is %s; see opts.security_policy and opts.security_mode", errNoEndpoint, strings.Join(slices.Compact(have), ", "))
}

// user says whom we come as.
func (a *Access) user() string {
	switch {
	case a.Username != "":
		return "a user with a name"
	case a.UserCert != "":
		return "a user with a certificate"
	}
	return "anonymous"
}

// token returns the strongest way in which the endpoint takes our user.
func (a *Access) token(e *ua.EndpointDescription) (best *ua.UserTokenPolicy) {
	want := ua.UserTokenTypeAnonymous
	switch {
	case a.Username != "":
		want = ua.UserTokenTypeUserName
	case a.UserCert != "":
		want = ua.UserTokenTypeCertificate
	}
	rank := func(t *ua.UserTokenPolicy) int {
		policy := cmp.Or(t.SecurityPolicyURI, e.SecurityPolicyURI)
		if policy == ua.SecurityPolicyURINone {
			return 1
		}
		return strength(policy, ua.MessageSecurityModeSign)
	}
	for _, t := range e.UserIdentityTokens {
		if t.TokenType == want && (want == ua.UserTokenTypeAnonymous || rank(t) > 0) && (best == nil || rank(t) > rank(best)) {
			best = t
		}
	}
	if best != nil && want == ua.UserTokenTypeCertificate && rank(best) == 1 {
		return nil // nothing to sign with
	}
	return best
}

// endpoints asks the server what it offers, over an open channel.
func (c *client) endpoints(ctx context.Context, ch *channel) ([]*ua.EndpointDescription, error) {
	resp, err := ch.call(ctx, nil, &ua.GetEndpointsRequest{EndpointURL: c.access.URL})
	if err != nil {
		return nil, err
	}
	list, ok := resp.(*ua.GetEndpointsResponse)
	if !ok {
		return nil, unexpected(resp)
	}
	return list.Endpoints, nil
}

func unexpected(resp ua.Response) error {
	return fmt.Errorf("the server answers with a %s", serviceName(resp))
}

// discover asks the server what it offers and chooses. It returns the channel that it
// asked over where that can be used on.
func (c *client) discover(ctx context.Context) (offer, *channel, error) {
	ch, err := openChannel(ctx, c.ep, c.access.URL, security{policy: ua.SecurityPolicyURINone, mode: ua.MessageSecurityModeNone}, c.timeout)
	if err != nil {
		return offer{}, nil, err
	}
	var o offer
	list, err := c.endpoints(ctx, ch)
	if err == nil {
		o, err = c.access.choose(list)
	}
	if err == nil && !c.access.Secure() && !o.protects() {
		return o, ch, nil
	}
	if err == nil {
		err = c.check(o)
	}
	if err == nil && !c.access.Secure() {
		ch.sec.remote = o.ServerCertificate
		return o, ch, nil
	}
	ch.goodbye()
	ch.close(errLeaving)
	return o, nil, err
}

// protects reports whether the user's secret is encrypted or signed by itself.
func (o *offer) protects() bool {
	return o.token.TokenType != ua.UserTokenTypeAnonymous && cmp.Or(o.token.SecurityPolicyURI, o.SecurityPolicyURI) != ua.SecurityPolicyURINone
}

// check says whether the server of an offer is to be believed.
func (c *client) check(o offer) error {
	host, uri := "", ""
	if c.access.CheckHost {
		host = c.access.Host
		if o.Server != nil {
			uri = o.Server.ApplicationURI
		}
	}
	return c.opts.PKI.verify(o.ServerCertificate, host, uri, time.Now())
}

// open opens a channel to the server of an offer, which is to be believed.
func (c *client) open(ctx context.Context, o offer) (*channel, error) {
	sec := security{policy: o.SecurityPolicyURI, mode: o.SecurityMode, remote: o.ServerCertificate}
	if !sec.none() || o.protects() {
		if err := c.check(o); err != nil {
			return nil, err
		}
		var err error
		if sec.cert, sec.key, err = c.opts.PKI.own(time.Now()); err != nil {
			return nil, err
		}
	}
	return openChannel(ctx, c.ep, c.access.URL, sec, c.timeout)
}

// session is a session with a server. It outlives its channel.
type session struct {
	offer   offer
	auth    *ua.NodeID
	nonce   []byte // the server's last
	cert    []byte // the server's, as it gave it
	timeout time.Duration
}

// create makes a session, which is not active yet.
func (c *client) create(ctx context.Context, ch *channel, o offer, timeout time.Duration) (*session, error) {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails
	cert := ch.sec.cert     // none on a channel without security
	resp, err := ch.call(ctx, nil, &ua.CreateSessionRequest{
		ClientDescription: &ua.ApplicationDescription{
			ApplicationURI: applicationURI(cert, c.name), ProductURI: "urn:edge-gateway", ApplicationName: ua.NewLocalizedText("edge-gateway " + c.name),
			ApplicationType: ua.ApplicationTypeClient,
		},
		EndpointURL: c.access.URL, SessionName: c.name, ClientNonce: nonce, ClientCertificate: cert,
		RequestedSessionTimeout: milliseconds(timeout), MaxResponseMessageSize: mostMessage,
	})
	if err != nil {
		return nil, err
	}
	r, ok := resp.(*ua.CreateSessionResponse)
	if !ok {
		return nil, unexpected(resp)
	}
	if !ch.sec.none() {
		if err := c.checkCreated(ch, r, o, nonce); err != nil {
			return nil, err
		}
	}
	return &session{offer: o, auth: r.AuthenticationToken, nonce: r.ServerNonce, cert: r.ServerCertificate, timeout: fromMilliseconds(r.RevisedSessionTimeout)}, nil
}

// checkCreated says whether the server proves to be whom it said over a way that was
// not secure, and offers what it offered there (OPC 10000-4, 5.7.2).
func (c *client) checkCreated(ch *channel, r *ua.CreateSessionResponse, o offer, nonce []byte) error {
	if !bytes.Equal(firstCert(r.ServerCertificate), firstCert(o.ServerCertificate)) {
		return errors.New("the server creates the session with another certificate")
	}
	algo, err := ch.sec.asymmetric("")
	if err != nil {
		return err
	}
	if r.ServerSignature == nil || algo.VerifySignature(append(slices.Clone(ch.sec.cert), nonce...), r.ServerSignature.Signature) != nil {
		return errors.New("the server's signature under the session is wrong")
	}
	if c.access.Policy != "" && c.access.Mode != ua.MessageSecurityModeInvalid || len(r.ServerEndpoints) == 0 {
		return nil
	}
	best, err := c.access.choose(r.ServerEndpoints)
	if err == nil && strength(best.SecurityPolicyURI, best.SecurityMode) > strength(o.SecurityPolicyURI, o.SecurityMode) {
		return errDowngrade
	}
	return nil
}

// activate makes a session the channel's: a new one, or one of a channel before.
func (c *client) activate(ctx context.Context, ch *channel, s *session) error {
	user, signature, err := c.identity(ch, s)
	if err != nil {
		return err
	}
	req := &ua.ActivateSessionRequest{
		ClientSignature: &ua.SignatureData{}, UserIdentityToken: ua.NewExtensionObject(user), UserTokenSignature: signature, LocaleIDs: []string{"en"},
	}
	if !ch.sec.none() {
		algo, err := ch.sec.asymmetric("")
		if err != nil {
			return err
		}
		sig, err := algo.Signature(append(slices.Clone(s.cert), s.nonce...))
		if err != nil {
			return fmt.Errorf("sign the session: %w", err)
		}
		req.ClientSignature = &ua.SignatureData{Algorithm: algo.SignatureURI(), Signature: sig}
	}
	resp, err := ch.call(ctx, s.auth, req)
	if err != nil {
		return err
	}
	r, ok := resp.(*ua.ActivateSessionResponse)
	if !ok {
		return unexpected(resp)
	}
	s.nonce = r.ServerNonce
	return nil
}

// identity makes the user's token for the session.
func (c *client) identity(ch *channel, s *session) (user any, signature *ua.SignatureData, err error) {
	t := s.offer.token
	policy := cmp.Or(t.SecurityPolicyURI, s.offer.SecurityPolicyURI)
	switch t.TokenType {
	case ua.UserTokenTypeUserName:
		password, err := c.password()
		if err != nil {
			return nil, nil, fmt.Errorf("password: %w", err)
		}
		token := &ua.UserNameIdentityToken{PolicyID: t.PolicyID, UserName: c.access.Username, Password: []byte(password)}
		if policy == ua.SecurityPolicyURINone {
			return token, &ua.SignatureData{}, nil
		}
		sec := ch.sec
		sec.remote = s.offer.ServerCertificate
		algo, err := sec.asymmetric(policy)
		if err != nil {
			return nil, nil, err
		}
		plain := binary.LittleEndian.AppendUint32(nil, uint32(len(password)+len(s.nonce)))
		plain = append(append(plain, password...), s.nonce...)
		if token.Password, err = algo.Encrypt(plain); err != nil {
			return nil, nil, fmt.Errorf("encrypt the password: %w", err)
		}
		token.EncryptionAlgorithm = algo.EncryptionURI()
		return token, &ua.SignatureData{}, nil
	case ua.UserTokenTypeCertificate:
		cert, key, err := c.user()
		if err != nil {
			return nil, nil, err
		}
		sec := security{policy: policy, key: key, remote: s.offer.ServerCertificate}
		algo, err := sec.asymmetric("")
		if err != nil {
			return nil, nil, err
		}
		sig, err := algo.Signature(append(slices.Clone(s.cert), s.nonce...))
		if err != nil {
			return nil, nil, fmt.Errorf("sign as the user: %w", err)
		}
		return &ua.X509IdentityToken{PolicyID: t.PolicyID, CertificateData: cert}, &ua.SignatureData{Algorithm: algo.SignatureURI(), Signature: sig}, nil
	}
	return &ua.AnonymousIdentityToken{PolicyID: t.PolicyID}, &ua.SignatureData{}, nil
}

// password returns the user's password, which may be a reference.
func (c *client) password() (string, error) {
	switch text := c.access.Password; {
	case !strings.HasPrefix(text, "${"):
		return text, nil
	case c.opts.Secret == nil:
		return "", errors.New("references to secrets aren't resolved here")
	default:
		return c.opts.Secret(text, c.access.Address)
	}
}

// user returns the certificate and the key of the user.
func (c *client) user() ([]byte, *rsa.PrivateKey, error) {
	for _, name := range []string{c.access.UserCert, c.access.UserKey} {
		if c.opts.File == nil {
			break
		}
		if err := c.opts.File(name); err != nil {
			return nil, nil, err
		}
	}
	return loadUser(c.access.UserCert, c.access.UserKey)
}

// closeSession ends a session and its subscriptions.
func closeSession(ctx context.Context, ch *channel, s *session) error {
	_, err := ch.call(ctx, s.auth, &ua.CloseSessionRequest{DeleteSubscriptions: true})
	return err
}
