package endpoint

import (
	"context"
	"net"
	"testing"
)

// TestMemo: what is kept about an address outlives connections, drains, handles and
// changes of options; another address has another memo. Bytes that nobody asked for
// end a connection only where nobody keeps account of them.
func TestMemo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // ends Accept
	peers := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			peers <- c
		}
	}()
	p, err := NewPool(PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(context.Background()) }() // nothing is in use
	open := func(id, url string) *Handle {
		u, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		h, err := p.Open(id, u)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	acquire := func(h *Handle) Lease {
		c, err := h.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	memoOf := func(c Lease) *Memo { return c.(Rememberer).Memo() }

	url := "tcp://" + l.Addr().String()
	h := open("a", url)
	one := acquire(h)
	memo := memoOf(one)
	if v := memo.Get(func() any { return 7 }); v != 7 || memo.Get(func() any { return 8 }) != 7 {
		t.Errorf("kept %v, want 7", v)
	}
	one.Release(nil)

	if _, err := (<-peers).Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return one.(*pooled).link.check() != nil })
	p.tick.Add(2) // the connection has rested
	if again := acquire(h); again != one {
		t.Error("a late answer ended the connection of users that keep account")
	} else {
		again.Release(nil)
	}

	h.Close()
	other := acquire(open("b", url+"?timeout=3s"))
	if memoOf(other) != memo {
		t.Error("a change of options lost the memo")
	}
	other.Release(nil)
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }() // nothing is in use
	c := acquire(open("c", "tcp://"+far.Addr().String()))
	if memoOf(c) == memo {
		t.Error("two addresses share a memo")
	}
	c.Release(nil)
}
