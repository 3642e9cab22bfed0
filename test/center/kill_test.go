package center_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// ledger is what writers were told of.
type ledger struct {
	mu   sync.Mutex
	acks map[int64]string // rev → sha256
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

func (l *ledger) read(t *testing.T, lines *bufio.Scanner) {
	for lines.Scan() {
		var rev int64
		var release uint64
		var sha string
		if _, err := fmt.Sscan(lines.Text(), &rev, &release, &sha); err != nil {
			return // cut off by the kill
		}
		l.mu.Lock()
		if was, ok := l.acks[rev]; ok && was != sha {
			t.Errorf("rev %d was acknowledged twice", rev)
		}
		l.acks[rev] = sha
		l.mu.Unlock()
	}
}

// check holds the log of the store to the ledger: no acknowledged commit is
// missing, releases have no gap, each is based on the one before. It returns how many
// were acknowledged, are missing, and are there twice.
func (l *ledger) check(t *testing.T, s *center.Store) (accepted, lost, repeated uint64) {
	t.Helper()
	log, err := s.Log(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	byRev := map[int64]string{}
	for i, c := range log {
		byRev[c.Rev] = c.SHA256
		if c.Release != uint64(len(log)-i) {
			t.Fatalf("entry %d of %d of the log is release %d", i, len(log), c.Release)
		}
		if i+1 < len(log) && (c.BaseRev != log[i+1].Rev || c.BaseSHA256 != log[i+1].SHA256) {
			t.Errorf("release %d is based on rev %d, the one before is rev %d", c.Release, c.BaseRev, log[i+1].Rev)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for rev, sha := range l.acks {
		if byRev[rev] != sha {
			lost++
			t.Errorf("rev %d was acknowledged and is not in the log", rev)
		}
	}
	t.Logf("%d commits, %d of them acknowledged", len(log), len(l.acks))
	return uint64(len(l.acks)), lost, uint64(len(log) - len(byRev))
}

// repaired pushes once more and has the doctor prove the item keys equal to the
// document.
func repaired(t *testing.T, s *center.Store, v int) {
	t.Helper()
	head, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(t.Context(), head, document(33, v), center.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	found, err := s.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		if d.Health == center.Sick {
			t.Errorf("%s: %s", d.Check, d.Message)
		}
	}
}

// Writers are killed at random moments of their pushes. Whatever they leave, readers
// see whole documents, and the next push puts the item keys right.
func TestWritersKilled(t *testing.T) {
	row := faults.Open(t, "kill-push")
	random := row.Random(t)
	dir := shortDir(t)
	child(t, "server", "DIR="+dir)
	endpoint := "unix:" + center.EmbeddedSocket(dir)
	s := open(t, []string{endpoint}, 0)
	l := &ledger{acks: map[int64]string{}}
	for round := range campaign(5, 300) {
		var wg sync.WaitGroup
		var writers []*exec.Cmd
		for w := range 2 {
			cmd, lines := child(t, "writer", "ENDPOINTS="+endpoint, "OPS=14", fmt.Sprint("FROM=", round*1000+w*500))
			writers = append(writers, cmd)
			wg.Go(func() { l.read(t, lines) })
		}
		// The moment of the kill is the test.
		time.Sleep(time.Duration(20+random.IntN(150)) * time.Millisecond)
		for _, cmd := range writers {
			row.Memory(faults.PeakOf(cmd.Process.Pid))
			_ = cmd.Process.Kill()
			row.Fault(1)
		}
		wg.Wait()
		for _, cmd := range writers {
			kill(cmd)
		}
		if _, err := s.Load(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		expire(t, endpoint)
		if round%5 == 4 {
			repaired(t, s, -round)
		}
	}
	row.Count(l.check(t, s))
}

// The embedded server is killed while it is written to: what it has acknowledged is
// there when it is back.
func TestServerKilled(t *testing.T) {
	row := faults.Open(t, "kill-etcd")
	random := row.Random(t)
	dir := shortDir(t)
	endpoint := "unix:" + center.EmbeddedSocket(dir)
	l := &ledger{acks: map[int64]string{}}
	for round := range campaign(4, 200) {
		began := time.Now()
		srv, _ := child(t, "server", "DIR="+dir)
		row.Recovered(time.Since(began))
		expire(t, endpoint)
		w, lines := child(t, "writer", "ENDPOINTS="+endpoint, fmt.Sprint("OPS=", []int{128, 14}[round%2]), fmt.Sprint("FROM=", round*1000))
		var wg sync.WaitGroup
		wg.Go(func() { l.read(t, lines) })
		time.Sleep(time.Duration(50+random.IntN(250)) * time.Millisecond) // the moment of the kill is the test
		row.Memory(faults.PeakOf(srv.Process.Pid))
		kill(srv)
		row.Fault(1)
		_ = w.Process.Kill()
		wg.Wait()
		kill(w)
	}
	child(t, "server", "DIR="+dir)
	s := open(t, []string{endpoint}, 0)
	expire(t, endpoint)
	repaired(t, s, -1)
	row.Count(l.check(t, s))
	if logs, err := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal")); err != nil || len(logs) == 0 {
		t.Errorf("no log in %s: %v", dir, err)
	}
}

// expire ends the claim of a writer that was killed, as its lease would in 10 s.
func expire(t *testing.T, endpoint string) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }() // what it did was answered
	resp, err := etcd.Get(t.Context(), center.DefaultPrefix+"/pending")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if _, err := etcd.Revoke(t.Context(), clientv3.LeaseID(kv.Lease)); err != nil {
			t.Fatal(err)
		}
	}
}
