package gateway

import (
	"crypto/x509"
	"encoding/pem"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// collector gives the metrics of what only the gateway as a whole knows. They are
// made when they are asked for.
type collector struct {
	g     *Gateway
	files certificateFiles

	info, ready, refused, connected, state, lag, certificate *prometheus.Desc
}

func newCollector(g *Gateway) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		g:           g,
		info:        desc("edge_gw_info", "1, with who runs which release.", "gateway_id", "version"),
		ready:       desc("edge_gw_ready", "1 while /readyz answers 200."),
		refused:     desc("cfg_refused", "1 while the newest configuration does not run: it was refused, or taken back."),
		connected:   desc("cfg_center_connected", "1 while the configuration center, or the directory of the tables, can be followed; no change arrives while it is 0."),
		state:       desc("connector_state", "1 for the state that the connector is in, 0 for the others.", "connector", "state"),
		lag:         desc("connector_lag", "Frames in the log that the connector has not delivered.", "connector"),
		certificate: desc("certificate_expiry_timestamp_seconds", "End of the first certificate to expire in a file that the configuration names, Unix time.", "setting"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.info, c.ready, c.refused, c.connected, c.state, c.lag, c.certificate} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	send(c.info, 1, c.g.cfg.GatewayID, version.String())
	send(c.ready, asGauge(c.g.Readiness().Ready))
	st := c.g.feed.Status()
	send(c.connected, asGauge(st.Link.Connected))
	switch st.State {
	case feed.Rejected, feed.RolledBack, feed.Pinned, feed.Failed:
		send(c.refused, 1)
	default:
		send(c.refused, 0)
	}
	for _, u := range c.g.connectors.List() {
		for _, state := range connector.States() {
			send(c.state, asGauge(u.State == state), u.Name, state)
		}
		send(c.lag, float64(u.Lag), u.Name)
	}
	for setting, end := range c.files.ends(c.g.certificateFiles) {
		send(c.certificate, float64(end.Unix()), setting)
	}
}

func asGauge(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// certificateFiles are the files with certificates that the configuration in use names,
// by setting.
func (g *Gateway) certificateFiles() map[string]string {
	files := map[string]string{}
	for _, v := range g.cfg.Values() {
		if path, _ := v.Value.(string); v.File && path != "" {
			files[v.Key] = path
		}
	}
	for id, item := range g.runner.Current().Endpoints {
		u, err := dialled(item)
		if err != nil {
			continue // no driver of ours uses it
		}
		for name, path := range map[string]string{"ca": u.Options().CA, "client_cert": u.Options().ClientCert} {
			if path != "" {
				files["endpoints."+id+"."+name] = path
			}
		}
	}
	return files
}

// certificateFiles remembers when the certificates in files end.
type certificateFiles struct {
	mu   sync.Mutex
	read time.Time
	last map[string]time.Time
}

// rereadEvery is how old what is known of the files may be.
const rereadEvery = 15 * time.Second

// ends returns when the first certificate of each file ends, by setting. A file that
// can't be read, or has none, such as a key, is left out.
func (f *certificateFiles) ends(list func() map[string]string) map[string]time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) < rereadEvery {
		return f.last
	}
	f.read, f.last = time.Now(), map[string]time.Time{}
	for setting, path := range list() {
		if end := firstEnd(path); !end.IsZero() {
			f.last[setting] = end
		}
	}
	return f.last
}

// firstEnd returns when the first certificate of a file ends, zero if it holds none.
func firstEnd(path string) (end time.Time) {
	text, err := regular.ReadFile(path, clienttls.MaxFile)
	if err != nil {
		return end // config check and the connection tell
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (end.IsZero() || cert.NotAfter.Before(end)) {
			end = cert.NotAfter
		}
	}
	return end
}
