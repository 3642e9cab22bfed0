package mqtt

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestWSS delivers over WebSocket and TLS.
func TestWSS(t *testing.T) {
	ca := newAuthority(t, "test authority")
	cert, key := ca.issue("localhost")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	wss, tcp := peer.FreeAddr(t), peer.FreeAddr(t)
	for _, l := range []listeners.Listener{
		listeners.NewWebsocket(listeners.Config{ID: "wss", Address: wss, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}),
		listeners.NewTCP(listeners.Config{ID: "tcp", Address: tcp}),
	} {
		if err := server.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // the test is over
	ledger := follow(t, tcp, "wss/#")
	r := newRig(t, "wss://"+wss, map[string]any{"topic": "wss/data", "tls": map[string]any{"ca": ca.pem}})
	r.start()
	r.publish(20_000)
	r.waitDelivered(10 * time.Second)
	checkLedger(t, ledger, 20_000)
	steps := testSteps(t, r.conn)
	for _, name := range []string{"name", "tcp", "tls", "websocket", "connect"} {
		if s, ok := steps[name]; !ok || s.Err != nil {
			t.Errorf("step %s: %+v", name, s)
		}
	}
}

// TestPassword connects with a user name and a password that come by reference, and
// says what is wrong when they are.
func TestPassword(t *testing.T) {
	t.Parallel()
	salt := []byte("twelve bytes")
	hash, err := pbkdf2.Key(sha512.New, "sesame", salt, 101, 64)
	if err != nil {
		t.Fatal(err)
	}
	// As mosquitto_passwd writes it (PBKDF2 with SHA-512).
	line := fmt.Sprintf("edge:$7$101$%s$%s\n", base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(hash))
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := peer.StartMosquitto(t, "allow_anonymous false", "password_file "+file)
	r := newRig(t, broker.URL(), map[string]any{"username": "edge", "password": "${file:mqtt_password}"})
	secret := "wrong"
	r.secret = func(s string) (string, error) {
		if s == "${file:mqtt_password}" {
			return secret, nil
		}
		return s, nil
	}
	r.start()
	r.waitState("fault")
	if s := r.conn.Status(); !strings.Contains(s.Error, "not authorized") || strings.Contains(s.Error, "wrong") {
		t.Errorf("status: %+v", s)
	}
	if s := testSteps(t, r.conn)["connect"]; s.Err == nil || !strings.Contains(s.Err.Error(), "not authorized") {
		t.Errorf("step connect: %+v", s)
	}
	r.stopConnector()
	secret = "sesame"
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
}

// TestLoneFrame has a frame leave after max_interval though no other follows, and
// not much before.
func TestLoneFrame(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), map[string]any{"max_interval": "400ms"})
	r.start()
	r.waitState("up")
	for i := range 3 {
		began := time.Now()
		r.publish(1)
		peer.WaitFor(t, 5*time.Second, "the frame", func() bool { return sub.Count() == i+1 })
		if took := time.Since(began); took < 350*time.Millisecond {
			t.Errorf("a lone frame took %s, want 400 ms and a little", took)
		}
	}
	r.stopConnector()
	r.cfg["max_interval"] = "1m"
	r.start()
	r.publish(32) // max_frames don't wait for max_interval
	peer.WaitFor(t, 20*time.Second, "the frames", func() bool { return sub.Count() == 35 })
}

// TestBacklogInLargeMessages drains a backlog: messages grow by themselves, up to
// max_bytes.
func TestBacklogInLargeMessages(t *testing.T) {
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), map[string]any{"max_bytes": "100K", "payload": "json"})
	r.openBus()
	r.publish(50_000)
	peer.WaitFor(t, 10*time.Second, "the log", func() bool { return r.bus.Head() == 50_000 })
	r.start()
	r.waitDelivered(20 * time.Second)
	checkAll(t, sub, 50_000)
	if n := len(sub.Messages()); n < 40 || n > 80 {
		t.Errorf("%d messages; 50,000 frames of 90 bytes are some 45 messages of 100 KiB", n)
	}
}

// TestTopicAliases sends the topic once and then its alias, as often as the broker
// allows it, on each connection anew.
func TestTopicAliases(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t, "max_topic_alias 2") // 2.0 knows the option on a listener
	ledger := follow(t, broker.Addr, "alias/#")
	p := newProxy(t, broker.Addr)
	named, aliased, most := 0, 0, uint16(0)
	p.watch(func(b []byte, fromBroker bool) {
		if fromBroker || b[0]>>4 != publish || b[0]>>1&3 != 2 {
			return
		}
		cp, err := packets.ReadPacket(bytes.NewReader(b))
		if err != nil {
			t.Errorf("PUBLISH: %v", err)
			return
		}
		c := cp.Content.(*packets.Publish)
		if c.Properties.TopicAlias != nil {
			most = max(most, *c.Properties.TopicAlias)
		}
		if c.Topic == "" {
			aliased++
		} else {
			named++
		}
	})
	r := newRig(t, p.url(), map[string]any{"topic": "alias/{tag}"})
	r.start()
	for range 10 {
		r.publish(3) // of three tags
		r.waitDelivered(10 * time.Second)
	}
	p.cutAll()
	for range 10 {
		r.publish(3)
		r.waitDelivered(10 * time.Second)
	}
	checkLedger(t, ledger, 60)
	p.mu.Lock()
	defer p.mu.Unlock()
	// Of three topics two have aliases: on each connection, twice one name and
	// then nine aliases, and ten names.
	if most == 0 || aliased < 30 || named > 30 {
		t.Errorf("%d messages with a name, %d with an alias alone, highest alias %d", named, aliased, most)
	}
}
