package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// gatewaysKey is where a scenario keeps how to stop its gateways.
type gatewaysKey struct{}

func storeOf(ts *testscript.TestScript) center.Config {
	return center.Config{Endpoints: []string{ts.Getenv("EDGE_CFG_ENDPOINTS")}, Prefix: ts.Getenv("EDGE_CFG_PREFIX")}
}

// rev sets a variable to the revision in force: rev NAME.
func rev(ts *testscript.TestScript, _ bool, args []string) {
	s, err := center.Open(context.Background(), storeOf(ts))
	ts.Check(err)
	defer func() { _ = s.Close() }() // it was only read
	head, err := s.Head(context.Background())
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprint(head.Rev))
}

// etcd changes a key below the prefix, as no tool of ours does: etcd del KEY, etcd put
// KEY VALUE.
func etcd(ts *testscript.TestScript, _ bool, args []string) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{ts.Getenv("EDGE_CFG_ENDPOINTS")}, Logger: zap.NewNop()})
	ts.Check(err)
	defer func() { _ = c.Close() }() // every request has had its answer
	key := ts.Getenv("EDGE_CFG_PREFIX") + "/" + args[1]
	switch args[0] {
	case "del":
		_, err = c.Delete(context.Background(), key)
	case "put":
		_, err = c.Put(context.Background(), key, args[2])
	default:
		ts.Fatalf("etcd %s: expected del or put", args[0])
	}
	ts.Check(err)
}

// gateway follows the store as a gateway does, until the scenario ends or 'gateway
// stop NAME': gateway NAME [REASON]. It refuses, for REASON, every configuration
// whose bus.wal_flush_ms is 99.
func gateway(ts *testscript.TestScript, _ bool, args []string) {
	running := ts.Value(gatewaysKey{}).(map[string]func())
	if args[0] == "stop" {
		running[args[1]]()
		return
	}
	name, reason := args[0], strings.Join(args[1:], " ")
	f, err := center.NewFollower(center.FollowerConfig{
		Store: storeOf(ts), Gateway: name, Instance: "instance-of-" + name, Version: "v1.2.3", Host: "host-of-" + name,
		CacheFile: ts.MkAbs(name + ".cache"), LeaseTTL: 2 * time.Second,
		Apply: func(_ context.Context, snap *config.Snapshot) center.Outcome {
			if reason != "" && fmt.Sprint(snap.Settings["bus"]["wal_flush_ms"]) == "99" {
				return center.Outcome{State: center.Rejected, Err: errors.New(reason)}
			}
			return center.Outcome{State: center.Applied}
		},
		Log: slog.New(slog.DiscardHandler),
	})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	running[name] = func() {
		cancel()
		err := <-done
		done <- nil // for another call
		ts.Check(err)
	}
	ts.Defer(running[name])
	for deadline := time.Now().Add(10 * time.Second); ; {
		if st := f.View(); st.Connected && st.State == center.Applied {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("gateway %s is not there: %+v", name, f.View())
		}
		time.Sleep(5 * time.Millisecond) // a real server's answer is waited for
	}
}
