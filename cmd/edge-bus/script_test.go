package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/audit"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edge-bus": main})
}

// TestScripts runs the command on the sockets and logs that the scripts ask for:
//
//	gateway            serves the small gateway of admintest on $WORK/admin.sock
//	log DIR FRAMES     makes the log of a stopped gateway
//	lock DIR           opens it, as a running gateway would
//	records DIR N      appends a chain of N audit records to a log; $ANCHOR is its end, $FIRSTANCHOR that of the first such log
//	park DIR ID FIRST LAST TOPIC   puts frames of it aside as a message that was refused
//
// and those of clitest.
func TestScripts(t *testing.T) {
	cmds := clitest.Commands()
	cmds["gateway"], cmds["log"], cmds["lock"], cmds["park"], cmds["records"] = serve, makeLog, lock, park, records
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EDGE_BUS_SOCKET", "")
			env.Setenv("TZ", "UTC")
			env.Setenv("NOBROKER", "mqtt://127.0.0.1:1")
			return nil
		},
		Cmds: cmds,
	})
}

func serve(ts *testscript.TestScript, _ bool, _ []string) {
	socket := filepath.Join(ts.Getenv("WORK"), "admin.sock")
	s, err := admintest.Serve(admin.Config{Socket: socket}, admintest.New().Backend())
	ts.Check(err)
	ts.Defer(func() { _ = s.Stop() }) // nil
	ts.Setenv("EDGE_BUS_SOCKET", socket)
}

func openBus(ts *testscript.TestScript, dir string) *bus.Bus {
	b, err := bus.Open(bus.DefaultConfig(ts.MkAbs(dir)), bus.Deps{})
	ts.Check(err)
	return b
}

// makeLog publishes frames of two tags, ten to a batch, a second between batches,
// the last ten minutes long. $MINUTE1 is when the second minute began, and
// $MINUTE1S a second later.
func makeLog(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := openBus(ts, args[0])
	_, err = b.OpenReader("mqtt", bus.StartOldest)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	ts.Setenv("MINUTE1", began.Add(time.Minute).UTC().Format(time.RFC3339))
	ts.Setenv("MINUTE1S", began.Add(time.Minute+time.Second).UTC().Format(time.RFC3339))
	set := &frame.TagSet{Driver: "press", Tags: []frame.Tag{{Name: "line.a", Unit: "bar"}, {Name: "line.b"}}}
	for i := 0; i < n; i += 10 {
		batch := &frame.Batch{Set: set}
		for j := range 10 {
			at := began.Add(time.Duration(i/10) * time.Second)
			batch.Frames = append(batch.Frames, frame.Frame{Value: frame.IntValue(int64(i + j)), TS: at.UnixNano(), Tag: uint32(j % 2)})
		}
		ts.Check(b.Publish(ctx, batch))
	}
	ts.Check(b.Sync(ctx))
	ts.Check(b.Close())
}

func records(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := openBus(ts, args[0])
	chain := audit.NewChain(filepath.Join(ts.MkAbs(ts.Getenv("WORK")), rand.Text()))
	for i := range n {
		r := map[string]any{"time": time.Now().UTC(), "method": "TagService/WriteTag", "user": "ann", "uid": i, "request": `{"tag":"<x>\u202e"}`, "code": "OK", "error": ""}
		ts.Check(chain.Record(r, func() error { return b.PublishSys(audit.Tag, r) }))
		ts.Setenv("ANCHOR", fmt.Sprintf("%v:%v", r["n"], r["hash"]))
	}
	if ts.Getenv("FIRSTANCHOR") == "" {
		ts.Setenv("FIRSTANCHOR", ts.Getenv("ANCHOR"))
	}
	ts.Check(b.Close())
}

func park(ts *testscript.TestScript, _ bool, args []string) {
	var n [3]uint64
	for i := range n {
		var err error
		n[i], err = strconv.ParseUint(args[i+1], 10, 64)
		ts.Check(err)
	}
	b := openBus(ts, args[0])
	c, err := b.OpenReader("mqtt", bus.StartOldest)
	ts.Check(err)
	p := bus.Parked{ID: n[0], First: n[1], Last: n[2], Frames: int(n[2] - n[1] + 1), Topic: args[4], Reason: "the broker said 0x87: not authorized",
		Time: time.Now().UnixMilli(), Message: json.RawMessage("{}")}
	r, err := p.Record()
	ts.Check(err)
	ts.Check(c.Commit(bus.Commit{Put: []bus.Record{r}, Sync: true}))
	c.Close()
	ts.Check(b.Close())
}

func lock(ts *testscript.TestScript, _ bool, args []string) {
	b := openBus(ts, args[0])
	ts.Defer(func() {
		if err := b.Close(); err != nil {
			ts.Logf("close: %v", err)
		}
	})
}
