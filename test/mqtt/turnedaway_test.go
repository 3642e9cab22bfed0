package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestVerifierIsTurnedAway: a consumer that a broker refuses for good ends at once, and
// says in words that name the setting why; where waiting may help it goes on.
func TestVerifierIsTurnedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, stranger := newAuthority(t, "test authority"), newAuthority(t, "stranger")
	cert, key := ca.issue("localhost")
	plain := peer.FreeAddr(t)
	_, port, err := net.SplitHostPort(plain)
	if err != nil {
		t.Fatal(err)
	}
	broker := peer.StartMosquitto(t, "cafile "+file("ca.pem", ca.pem), "certfile "+file("cert.pem", cert), "keyfile "+file("key.pem", key),
		"require_certificate true", "listener "+port+" 127.0.0.1")
	locked := peer.StartMosquitto(t, "allow_anonymous false", "password_file "+file("passwords", ""))
	trust := func(a *authority) *tls.Config {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(a.pem))
		return &tls.Config{RootCAs: pool}
	}
	other := trust(ca)
	other.ServerName = "elsewhere"
	for name, c := range map[string]struct {
		cfg  receiver.Config
		want string // "": it goes on
	}{
		"no password":       {receiver.Config{Broker: locked.URL()}, "no user name was given"},
		"wrong password":    {receiver.Config{Broker: locked.URL(), Username: "edge", Password: "x"}, "check the user's rights (ACL) at the broker, and username and password"},
		"wrong password 3":  {receiver.Config{Broker: locked.URL(), Username: "edge", Password: "x", Old: true}, "username and password"},
		"unknown authority": {receiver.Config{Broker: "mqtts://" + broker.Addr, TLS: trust(stranger)}, "set --cacert"},
		"another name":      {receiver.Config{Broker: "mqtts://" + broker.Addr, TLS: other}, "in --broker that the certificate holds"},
		"no certificate":    {receiver.Config{Broker: "mqtts://" + broker.Addr, TLS: trust(ca)}, "set --cert and --key"},
		"not TLS":           {receiver.Config{Broker: "mqtts://" + plain, TLS: trust(ca)}, ""},
		"TLS":               {receiver.Config{Broker: "mqtt://" + broker.Addr}, ""},
		"nobody listens":    {receiver.Config{Broker: "mqtt://" + peer.FreeAddr(t)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := make(chan string, 100)
			c.cfg.Topic, c.cfg.ClientID, c.cfg.Refusal, c.cfg.Log = "/edge/#", name, true, slog.New(lastWords{slog.DiscardHandler, said})
			c.cfg.Settings = clienttls.Settings{Peer: "the broker", CA: "--cacert", Cert: "--cert", Key: "--key", Address: "--broker", Plain: "use mqtt://"}
			var err error
			if c.cfg.Ledger, err = receiver.OpenLedger(""); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- receiver.Run(ctx, c.cfg) }()
			if c.want != "" {
				if err := <-done; err == nil || !strings.Contains(err.Error(), c.want) || ctx.Err() != nil {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			hints := map[string]string{"not TLS": "use mqtt://", "TLS": "mqtts://", "nobody listens": "refused"}
			for range 2 { // it tries again
				select {
				case text := <-said:
					if !strings.Contains(text, hints[name]) {
						t.Errorf("%q, want %q", text, hints[name])
					}
				case err := <-done:
					t.Fatalf("it ended: %v", err)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// lastWords hands on the errors of log lines.
type lastWords struct {
	slog.Handler
	said chan<- string
}

func (lastWords) Enabled(context.Context, slog.Level) bool { return true }

func (l lastWords) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			select {
			case l.said <- a.Value.String():
			default:
			}
		}
		return true
	})
	return nil
}
