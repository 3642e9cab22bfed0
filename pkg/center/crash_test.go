package center

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// breaker breaks a push off at its nth transaction, before or after it.
type breaker struct {
	mu     sync.Mutex
	at     int
	after  bool
	crash  context.CancelFunc // nil: the answer is lost, and the client goes on
	calls  int
	broken bool
}

var errBroken = errors.New("broken off by the test")

func (b *breaker) fault(_ string, done bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken && b.crash != nil {
		return errBroken // the dead do nothing
	}
	if done != b.after {
		return nil
	}
	if b.calls++; b.broken || b.calls != b.at {
		return nil
	}
	b.broken = true
	if b.crash != nil {
		b.crash()
	}
	return errBroken
}

// expire ends the lease of a dead writer, as time would.
func expire(t *testing.T, s *Store) {
	t.Helper()
	resp, err := s.etcd.Get(t.Context(), s.keys.pending())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if _, err := s.etcd.Revoke(t.Context(), clientv3.LeaseID(kv.Lease)); err != nil {
			t.Fatal(err)
		}
	}
}

// A push that is cut off between any two transactions is invisible, and the next
// push repairs what it left: whatever that one pushes, the item keys are its
// document and nothing else.
func TestCutOffAnywhere(t *testing.T) {
	endpoint := startEtcd(t)
	for n := 1; ; n++ {
		finished := false
		for _, after := range []bool{false, true} {
			name := fmt.Sprintf("transaction %d, after %v", n, after)
			prefix := func(c *Config) { c.Prefix = fmt.Sprintf("/cut/%d/%v", n, after) }
			s := openStore(t, endpoint, small(12), prefix)
			base := docOf(t, 30, "base")
			mustPush(t, s, base)
			before := mustLoad(t, s)

			victim := openStore(t, endpoint, small(12), prefix)
			ctx, cancel := context.WithCancel(t.Context())
			b := &breaker{at: n, after: after, crash: cancel}
			victim.fault = b.fault
			target := docOf(t, 45, name) // a document of its own: not one that is stored already
			_, err := victim.Push(ctx, before, target, PushOptions{})
			cancel()
			if !b.broken {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				finished = true
				break
			}
			if err == nil {
				t.Logf("%s: the push had succeeded", name) // only giving the claim back was cut off
			}
			v := mustLoad(t, s)
			switch v.Commit.SHA256 {
			case base.SHA256():
				if v.Commit.Rev != before.Commit.Rev {
					t.Fatalf("%s: rev %d of the old document, was %d", name, v.Commit.Rev, before.Commit.Rev)
				}
			case target.SHA256():
				holds(t, s, target) // cut off after its last transaction
			default:
				t.Fatalf("%s: a third document", name)
			}
			expire(t, s)
			next := with(t, v.Doc, config.Variables, variable(2, "next"))
			mustPush(t, s, next)
			holds(t, s, next)
			same, err := s.Push(t.Context(), mustLoad(t, s), next, PushOptions{})
			if err != nil || same.SHA256 != next.SHA256() {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if finished {
			t.Logf("a push in steps has %d transactions", n-1)
			if n < 12 {
				t.Errorf("that is too few for the test to mean something")
			}
			return
		}
	}
}

// A push whose answers get lost, each once, still is done once.
func TestLostAnswers(t *testing.T) {
	endpoint := startEtcd(t)
	for _, ops := range []int{128, 12} {
		for n := 1; ; n++ {
			prefix := func(c *Config) { c.Prefix = fmt.Sprintf("/lost/%d/%d", ops, n) }
			s := openStore(t, endpoint, small(ops), prefix)
			mustPush(t, s, docOf(t, 30, "base"))
			b := &breaker{at: n, after: true}
			s.fault = b.fault
			doc := docOf(t, 45, fmt.Sprint("new", ops, n))
			c := mustPush(t, s, doc)
			holds(t, s, doc)
			if c.Release != 2 || mustLoad(t, s).Commit.Rev != c.Rev {
				t.Fatalf("transaction %d of pushes with %d operations: release %d, rev %d", n, ops, c.Release, c.Rev)
			}
			if !b.broken {
				break
			}
		}
	}
}

// A push of what is there already repairs the items, without a new commit.
func TestRepairWithoutCommit(t *testing.T) {
	s := openStore(t, startEtcd(t), small(12))
	doc := docOf(t, 30, "base")
	c := mustPush(t, s, doc)
	ctx, cancel := context.WithCancel(t.Context())
	victim := *s
	victim.fault = (&breaker{at: 5, after: true, crash: cancel}).fault
	if _, err := victim.Push(ctx, mustLoad(t, s), docOf(t, 60, "lost"), PushOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("the victim: %v", err)
	}
	found, err := s.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !has(found, "push", Doubt) || !has(found, "items", Sick) {
		t.Errorf("the doctor found %v", found)
	}
	expire(t, s)
	if again := mustPush(t, s, doc); again.Rev != c.Rev {
		t.Errorf("the repair made rev %d of %d", again.Rev, c.Rev)
	}
	holds(t, s, doc)
	if found, err = s.Doctor(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		if d.Health != Healthy {
			t.Errorf("after the repair: %+v", d)
		}
	}
}

func has(found []Diagnosis, check string, h Health) bool {
	for _, d := range found {
		if d.Check == check && d.Health == h {
			return true
		}
	}
	return false
}

// The claim of a writer that hangs runs out. When it goes on, nothing that it sends
// takes effect.
func TestHangingWriter(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint, small(12))
	base := docOf(t, 30, "base")
	mustPush(t, s, base)
	winner := docOf(t, 25, "winner")
	victim := openStore(t, endpoint, small(12))
	var once sync.Once
	victim.fault = func(op string, done bool) error {
		if op == "write the items" && done {
			once.Do(func() {
				expire(t, s)
				mustPush(t, s, winner)
			})
		}
		return nil
	}
	_, err := victim.Push(t.Context(), mustLoad(t, s), docOf(t, 90, "hanging"), PushOptions{})
	var conflict *ConflictError
	if !errors.Is(err, ErrUnavailable) && !errors.As(err, &conflict) {
		t.Errorf("the hanging push: %v", err)
	}
	holds(t, s, winner)
}
