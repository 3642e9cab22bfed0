package opcua

import (
	"errors"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// hintOf says what may mend a tag that the server gives no value of.
func hintOf(code ua.StatusCode) string {
	switch code & 0xFFFF0000 {
	case ua.StatusBadNodeIDUnknown, ua.StatusBadNodeIDInvalid:
		return "check address.node; edge-ctl browse shows what the server has"
	case ua.StatusBadAttributeIDInvalid:
		return "the node is not a variable: check address.node with edge-ctl browse"
	case ua.StatusBadNotReadable, ua.StatusBadUserAccessDenied:
		return "the server does not let this user read it: check its access rights"
	case ua.StatusBadFilterNotAllowed, ua.StatusBadMonitoredItemFilterUnsupported, ua.StatusBadDeadbandFilterInvalid:
		return "the server knows no such deadband for it: set deadband: 0 for the node in cfg.subscriptions"
	case ua.StatusBadTooManyMonitoredItems:
		return "the server watches no more nodes: remove some, or use mode: poll"
	case ua.StatusBadNotConnected, ua.StatusBadCommunicationError, ua.StatusBadDeviceFailure, ua.StatusBadSensorFailure, ua.StatusBadOutOfService,
		ua.StatusBadNoCommunication, ua.StatusBadWaitingForInitialData:
		return "what is behind the server gives it no value: look there"
	}
	return "the server says so; its own log may say more"
}

// awayReason says why no tag can be read, and what may mend it.
func awayReason(err error) driver.Reason {
	r := driver.Reason{Text: err.Error()}
	code := statusOf(err)
	switch {
	case errors.Is(err, ErrUntrusted), errors.Is(err, ErrExpired), errors.Is(err, ErrWrongHost), errors.Is(err, ErrWrongServer),
		errors.Is(err, ErrRevoked), errors.Is(err, ErrWeakKey):
		r.Hint = "docs/opcua.md, Certificates"
	case errors.Is(err, errNoEndpoint), errors.Is(err, errNoToken):
		r.Hint = "edge-ctl probe opc.tcp://HOST:PORT shows what the server offers"
	case code == ua.StatusBadUserAccessDenied, code == ua.StatusBadIdentityTokenRejected, code == ua.StatusBadIdentityTokenInvalid:
		r.Hint = "the server refuses the user: check opts.username and opts.password, or opts.user_cert"
	case code == ua.StatusBadSecurityChecksFailed, code == ua.StatusBadCertificateUntrusted, code == ua.StatusBadCertificateInvalid:
		r.Hint = "the server may not trust the gateway's certificate: trust it there (edge-ctl pki list shows it under own)"
	case code == ua.StatusBadTooManySessions:
		r.Hint = "the server has no session left: end others there, or raise its limit"
	case errors.Is(err, errSilent), errors.Is(err, errNoAnswer):
		r.Hint = "the server is reached and does not answer: is it stopped, or overloaded? a longer cfg.timeout gives it more time"
	case errors.Is(err, endpoint.ErrDown):
		r.Hint = "check host and port, and whether the server runs"
	default:
		r.Hint = "edge-ctl probe opc.tcp://HOST:PORT shows how far a question comes"
	}
	return r
}

// resolved notes where an item is at the server, for reads and writes on demand.
func (d *opcuaDriver) resolved(it *item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live != nil && it.id != nil {
		d.live.ids[it.target.node.String()] = it.id
	}
}

// requested counts a request and how long it took.
func (d *opcuaDriver) requested(service string, took time.Duration, err error) {
	d.metrics.requests.WithLabelValues(d.id, service, result(err)).Inc()
	if err == nil {
		d.metrics.latency.WithLabelValues(d.id).Observe(float64(took) / float64(time.Millisecond))
	}
}
