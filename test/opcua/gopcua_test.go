package opcua

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopcua/opcua/id"
	gopcua "github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// A server of another make: gopcua's.
func TestAnotherMake(t *testing.T) {
	cert, keyFile := certificate(t, t.TempDir(), "gopcua", func(*x509.Certificate) {})
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	port := peer.FreePort(t)
	srv := gopcua.New(
		gopcua.EndPoint("127.0.0.1", port), gopcua.PrivateKey(rsaKey(t, key)), gopcua.Certificate(derOf(t, cert)),
		gopcua.EnableSecurity("None", ua.MessageSecurityModeNone), gopcua.EnableSecurity("Basic256Sha256", ua.MessageSecurityModeSignAndEncrypt),
		gopcua.EnableAuthMode(ua.UserTokenTypeAnonymous))
	ns := gopcua.NewNodeNameSpace(srv, "urn:line2")
	space, err := srv.Namespace(0)
	if err != nil {
		t.Fatal(err)
	}
	space.Objects().AddRef(ns.Objects(), id.HasComponent, true)
	var speed atomic.Int32
	speed.Store(40)
	node := gopcua.NewVariableNode(ua.NewStringNodeID(ns.ID(), "Speed"), "Speed", func() *ua.DataValue {
		return &ua.DataValue{EncodingMask: ua.DataValueValue | ua.DataValueSourceTimestamp, SourceTimestamp: time.Now(), Value: ua.MustVariant(speed.Load())}
	})
	ns.Objects().AddRef(ns.AddNode(node), id.HasComponent, true)
	ctx, cancel := context.WithCancel(context.Background())
	if err := srv.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close(); cancel() }) // it ends with the test
	for name, opts := range map[string]map[string]string{"None": none(), "Basic256Sha256": {"check_host": "false"}} {
		for _, mode := range []string{"subscribe", "poll"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				speed.Store(40)
				r := run(t, options{port: port, opts: opts, trust: []string{cert}, vars: []config.Variable{variable("speed", "nsu=urn:line2;s=Speed", config.TypeInt32)},
					cfg: map[string]any{"mode": mode, "publishing": "50ms", "polling": "50ms"}})
				r.waitValue("speed", "40")
				speed.Store(41)
				srv.ChangeNotification(node.ID())
				r.waitValue("speed", "41")
			})
		}
	}
}
