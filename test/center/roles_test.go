package center_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// roleCluster is an etcd with TLS client certificates and rights on, and two sites in it.
type roleCluster struct {
	t      *testing.T
	ca     *authority
	client string
}

const siteA, siteB = "/edge/site-a", "/edge/site-b"

func startRoleCluster(t *testing.T) *roleCluster {
	c := &roleCluster{t: t, ca: newAuthority(t), client: freePort(t)}
	for _, name := range []string{"server", "root", "a1", "a2", "b1", "ann", "bob", "stranger"} {
		c.ca.sign(name, c.ca)
	}
	peerAddr := freePort(t)
	child(t, "member", "NAME=m0", "DIR="+t.TempDir(), "CLIENT=https://"+c.client, "PEER=http://"+peerAddr, "CLUSTER=m0=http://"+peerAddr,
		"CERT="+c.ca.path("server.crt"), "KEY="+c.ca.path("server.key"), "CA="+c.ca.path("ca.crt"), "CLIENT_CERTS=yes")
	root := c.etcd("root")
	if _, err := root.UserAddWithOptions(t.Context(), "root", "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.UserGrantRole(t.Context(), "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := root.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *roleCluster) files(name string) *center.TLS {
	return &center.TLS{CA: c.ca.path("ca.crt"), Cert: c.ca.path(name + ".crt"), Key: c.ca.path(name + ".key")}
}

// etcd is a plain client with a name's certificate.
func (c *roleCluster) etcd(name string) *clientv3.Client {
	c.t.Helper()
	f := c.files(name)
	cfg, err := transport.TLSInfo{TrustedCAFile: f.CA, CertFile: f.Cert, KeyFile: f.Key}.ClientConfig()
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := clientv3.New(clientv3.Config{Endpoints: []string{c.client}, TLS: cfg, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = e.Close() })
	return e
}

func (c *roleCluster) config(name, prefix string) center.Config {
	return center.Config{Endpoints: []string{c.client}, Prefix: prefix, TLS: c.files(name), DialTimeout: 10 * time.Second}
}

func (c *roleCluster) store(name, prefix string) *center.Store {
	c.t.Helper()
	s, err := center.Open(c.t.Context(), c.config(name, prefix))
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.t.Cleanup(func() { _ = s.Close() })
	return s
}

// cfg runs edge-cfg with a name's certificate.
func (c *roleCluster) cfg(name, prefix string, args ...string) {
	c.t.Helper()
	f := c.files(name)
	all := append([]string{"--endpoints", c.client, "--prefix", prefix, "--cacert", f.CA, "--cert", f.Cert, "--key", f.Key}, args...)
	if out, code := edgeCfg(c.t, all...); code != 0 {
		c.t.Fatalf("edge-cfg %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

// push makes doc the configuration of a prefix.
func (c *roleCluster) push(name, prefix string, doc *config.Document) {
	c.t.Helper()
	s := c.store(name, prefix)
	base, err := s.Load(c.t.Context())
	if err == nil {
		_, err = s.Push(c.t.Context(), base, doc, center.PushOptions{})
	}
	if err != nil {
		c.t.Fatalf("%s pushes to %s: %v", name, prefix, err)
	}
}

// follow runs a gateway that has its own certificate.
func (c *roleCluster) follow(name, prefix string) *center.Follower {
	c.t.Helper()
	f, err := center.NewFollower(center.FollowerConfig{
		Store: c.config(name, prefix), Gateway: name, Instance: "of-" + name, CacheFile: cacheDir(c.t) + "/cache",
		Apply: func(context.Context, *config.Snapshot) center.Outcome { return center.Outcome{State: center.Applied} },
		Log:   slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("%s ended with %v", name, err)
		}
	})
	return f
}

func (c *roleCluster) runs(f *center.Follower, doc *config.Document) {
	c.t.Helper()
	until(c.t, "it runs the document", func() bool {
		v := f.View()
		return v.SHA256 == doc.SHA256() && v.State == center.Applied && v.Connected
	})
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond) // others are at work
	}
}

// TestRoles tries each right that a role has and each that it must not have, on an etcd
// with certificates and rights on, and then what the product does with them.
func TestRoles(t *testing.T) {
	c := startRoleCluster(t)
	c.cfg("root", siteA, "enroll", "a1", "a2")
	c.cfg("root", siteA, "enroll", "--as", "operator", "ann")
	c.cfg("root", siteA, "enroll", "--as", "viewer", "bob")
	c.cfg("root", siteB, "enroll", "b1")
	c.cfg("root", siteA, "enroll", "a1", "a2") // again
	first, other := document(50, 1), document(51, 1)
	c.push("ann", siteA, first)
	c.push("root", siteB, other)

	t.Run("matrix", func(t *testing.T) { roleMatrix(t, c, first, other) })

	a1, b1 := c.follow("a1", siteA), c.follow("b1", siteB)
	c.runs(a1, first)
	c.runs(b1, other)
	fleet := layered(60, 3, "b1", "b2") // a gateway reads its own record of it, and no more
	c.push("root", siteB, fleet)
	c.runs(b1, runOf(t, fleet, "b1"))
	second := document(2000, 2) // in steps, and read as a document
	c.push("ann", siteA, second)
	c.runs(a1, second)
	c.cfg("ann", siteA, "set", "bus.wal_flush_ms", "20", "--wait", "--timeout", "30s")
	c.cfg("ann", siteA, "rollback", "all", "--to", "previous", "-y", "--no-wait")
	c.runs(a1, second)
	c.cfg("bob", siteA, "status")
	c.cfg("bob", siteA, "log")
	if err := c.store("ann", siteA).Retry(t.Context(), "a1"); err != nil {
		t.Error(err)
	}
	until(t, "the retry is taken", func() bool {
		resp, err := c.etcd("root").Get(t.Context(), keysOf(t, siteA).own("retry", "a1"))
		return err == nil && len(resp.Kvs) == 0
	})

	// A user of another prefix, or a person, is not made a gateway.
	for name, kind := range map[string]center.Kind{"b1": center.KindGateway, "ann": center.KindGateway, "a1": center.KindOperator, "root": center.KindOperator} {
		if err := c.store("root", siteA).Enroll(t.Context(), kind, []string{name}); err == nil {
			t.Errorf("%s was enrolled as %s", name, kind)
		}
	}
	if err := c.store("ann", siteA).Enroll(t.Context(), center.KindOperator, []string{"friend"}); !errors.Is(err, center.ErrRefused) {
		t.Errorf("an operator enrolled somebody: %v", err)
	}

	// A certificate that was stolen reads and writes nothing any more. What runs goes on.
	c.cfg("root", siteA, "revoke", "a1")
	if _, err := center.Open(t.Context(), c.config("a1", siteA)); !errors.Is(err, center.ErrRefused) {
		t.Errorf("after the revocation: %v", err)
	}
	if v := a1.View(); v.SHA256 != second.SHA256() || v.State != center.Applied {
		t.Errorf("after the revocation it runs %+v", v)
	}
	all, err := c.store("bob", siteA).Gateways(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("after the revocation: %+v, %v", all, err)
	}
}

// keys are those of one prefix, as docs/config-center.md has them.
type keys struct{ prefix, fleet string }

// keysOf finds the keys of a prefix's gateways by what enrolling one prints.
func keysOf(t *testing.T, prefix string) keys {
	t.Helper()
	steps, err := center.EnrollSteps(prefix, center.KindGateway, []string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		words := strings.Fields(s.String())
		if key, ok := strings.CutSuffix(words[len(words)-1], "status/x"); ok {
			return keys{prefix: prefix, fleet: key}
		}
	}
	t.Fatal("no step grants the status")
	return keys{}
}

func (k keys) own(kind, gw string) string { return k.fleet + kind + "/" + gw }

// roleMatrix tries every combination of user, key and act.
func roleMatrix(t *testing.T, c *roleCluster, docA, docB *config.Document) {
	a, b := keysOf(t, siteA), keysOf(t, siteB)
	const read, write = "read", "read and write"
	type rights map[string]string // by user; none where it isn't named
	matrix := map[string]rights{
		a.prefix + "/commit":                          {"a1": read, "a2": read, "ann": write, "bob": read},
		a.prefix + "/docs/" + docA.SHA256() + "/head": {"a1": read, "a2": read, "ann": write, "bob": read},
		a.prefix + "/releases/0000000001":             {"a1": read, "a2": read, "ann": write, "bob": read},
		a.prefix + "/drivers/drv":                     {"ann": write, "bob": read},
		a.prefix + "/pending":                         {"ann": write, "bob": read},
		a.prefix + "/dirty":                           {"ann": write, "bob": read},
		a.prefix + "/for/a1":                          {"a1": read, "ann": write, "bob": read},
		a.prefix + "/for/a2":                          {"a2": read, "ann": write, "bob": read},
		a.prefix + "/sources/x/head":                  {"ann": write, "bob": read},
		a.own("status", "a1"):                         {"a1": write, "ann": write, "bob": read},
		a.own("alive", "a1"):                          {"a1": write, "ann": write, "bob": read},
		a.own("retry", "a1"):                          {"a1": write, "ann": write, "bob": read},
		a.own("ok", "a1"):                             {"a1": write, "a2": read, "ann": write, "bob": read},
		a.own("bad", "a2"):                            {"a1": read, "a2": write, "ann": write, "bob": read},
		a.prefix + "/rollout/x":                       {"a1": read, "a2": read, "ann": write, "bob": read},
		b.own("ok", "b1"):                             {"b1": write},
		b.prefix + "/rollout/x":                       {"b1": read},
		a.own("status", "a10"):                        {"ann": write, "bob": read},
		a.own("status", "a1/x"):                       {"ann": write, "bob": read},
		a.own("status", "a2"):                         {"a2": write, "ann": write, "bob": read},
		a.own("alive", "a2"):                          {"a2": write, "ann": write, "bob": read},
		b.prefix + "/commit":                          {"b1": read},
		b.prefix + "/docs/" + docB.SHA256() + "/head": {"b1": read},
		b.prefix + "/docs/" + docA.SHA256() + "/head": {"b1": read}, // which isn't there
		b.own("status", "b1"):                         {"b1": write},
		b.own("alive", "b1"):                          {"b1": write},
		siteA + "x/commit":                            {},
		"/edge/config/v1/commit":                      {},
		"/edge/config/backup/" + docA.SHA256():        {},
		"/edge/status/v1/x/a1":                        {},
		"anything":                                    {},
	}
	tried := 0
	for _, user := range []string{"a1", "a2", "b1", "ann", "bob", "stranger"} {
		e := c.etcd(user)
		for key, may := range matrix {
			canRead, canWrite := may[user] != "", may[user] == write
			never := clientv3.Compare(clientv3.CreateRevision(key), "<", 0) // what it would write must not stay
			for act, try := range map[string]struct {
				may bool
				do  func(context.Context) error
			}{
				"get": {canRead, func(ctx context.Context) error { _, err := e.Get(ctx, key); return err }},
				"get past": {canRead, func(ctx context.Context) error {
					_, err := e.Get(ctx, key, clientv3.WithRev(1))
					return notCompacted(err)
				}},
				"watch":   {canRead, func(ctx context.Context) error { return watch(ctx, e, key) }},
				"compare": {canRead, func(ctx context.Context) error { _, err := e.Txn(ctx).If(never).Commit(); return err }},
				"put": {canWrite, func(ctx context.Context) error {
					_, err := e.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(own(user, a, b)), "<", 0)).Then(clientv3.OpPut(key, "x")).Commit()
					return err
				}},
				"delete": {canWrite, func(ctx context.Context) error {
					_, err := e.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(own(user, a, b)), "<", 0)).Then(clientv3.OpDelete(key)).Commit()
					return err
				}},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := try.do(ctx)
				cancel()
				tried++
				if denied := errors.Is(err, rpctypes.ErrPermissionDenied); try.may && err != nil || !try.may && !denied {
					t.Errorf("%s: %s %s: %v, allowed: %v", user, act, key, err, try.may)
				}
			}
		}
		// Ranges that begin where the user may read, and end further away.
		for _, from := range []string{a.prefix + "/", a.fleet, b.prefix + "/", b.fleet, "/edge/", "/"} {
			may := (user == "ann" || user == "bob") && (from == a.prefix+"/" || from == a.fleet)
			_, err := e.Get(t.Context(), from, clientv3.WithPrefix(), clientv3.WithCountOnly())
			if denied := errors.Is(err, rpctypes.ErrPermissionDenied); may && err != nil || !may && !denied {
				t.Errorf("%s: all below %s: %v, allowed: %v", user, from, err, may)
			}
		}
		// Nor may anybody change rights, or see those of others.
		for act, err := range map[string]error{
			"add a user": func() error { _, err := e.UserAdd(t.Context(), "x", "x"); return err }(),
			"grant": func() error {
				_, err := e.RoleGrantPermission(t.Context(), "root", "a", "b", clientv3.PermissionType(clientv3.PermReadWrite))
				return err
			}(),
			"turn rights off": func() error { _, err := e.AuthDisable(t.Context()); return err }(),
			"another's roles": func() error { _, err := e.UserGet(t.Context(), "root"); return err }(),
		} {
			if err == nil {
				t.Errorf("%s could %s", user, act)
			}
		}
	}
	t.Logf("%d acts were tried", tried)
}

// own is a key that the user may compare, so that a refusal is that of the other one.
func own(user string, a, b keys) string {
	if user == "b1" {
		return b.prefix + "/commit"
	}
	return a.prefix + "/commit"
}

func notCompacted(err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil
	}
	return err
}

// watch opens a watch and returns why it was refused.
func watch(ctx context.Context, e *clientv3.Client, key string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, ok := <-e.Watch(ctx, key, clientv3.WithCreatedNotify())
	switch {
	case !ok:
		return fmt.Errorf("watch %s: it ended without a word: %w", key, ctx.Err())
	case resp.Err() != nil && strings.Contains(resp.Err().Error(), "permission denied"):
		return rpctypes.ErrPermissionDenied
	}
	return resp.Err()
}
