package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// selfEnv makes the test binary the command, which writes to the file of that name how
// much memory it took.
const selfEnv = "EDGE_CFG_TEST_IS_COMMAND"

// asCommand is the command. Its parent can't tell its memory: what the system counts
// begins with the parent's own.
func asCommand(path string) int {
	code := run()
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		line, _, _ := strings.Cut(after, "kB")
		err = os.WriteFile(path, []byte(strings.TrimSpace(line)), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// largePlant makes a configuration of n variables, 100 of them on each driver, as
// plants have it.
func largePlant(n int) *config.Document {
	endpoints, drivers := map[string]config.Endpoint{}, map[string]config.Driver{}
	for i := range (n + 99) / 100 {
		endpoints[fmt.Sprintf("plc_%d", i)] = config.Endpoint{Scheme: "tcp", Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Port: 502, Opts: map[string]string{"timeout": "1s"}}
		drivers[fmt.Sprintf("modbus_%d", i)] = config.Driver{Kind: config.KindStatic, EndpointID: fmt.Sprintf("plc_%d", i), Proto: "modbus",
			Cfg: map[string]any{"unit_id": int64(1), "polling": "1s"}}
	}
	vars := make([]config.Variable, n)
	for i := range vars {
		vars[i] = config.Variable{Tag: fmt.Sprintf("plant.area%d.flow_%06d", i%100, i), DriverID: fmt.Sprintf("modbus_%d", i/100), Access: config.AccessR,
			Address: config.Address{Type: config.AddrHolding, Addr: uint32(40001 + i%100), Len: 1}, Datatype: config.TypeUint16, Scale: "value / 10", Unit: "m3_h"}
	}
	return config.NewSnapshot(endpoints, drivers, vars, nil).Document()
}

func appendTo(t *testing.T, path, line string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, line+"\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLargeTables runs the commands that handle whole tables on a large plant, each in
// a process of its own, and holds their memory and processor time to their bounds: at
// 100,000 variables (EDGE_LARGE=100000) 300 MB and 3 s.
func TestLargeTables(t *testing.T) {
	n := 10_000
	if text := os.Getenv("EDGE_LARGE"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	server := startEtcd(t)
	doc := largePlant(n)
	push := func(base center.Version, next *config.Document) center.Version {
		s, err := center.Open(t.Context(), center.Config{Endpoints: []string{server}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }() // every request has had its answer
		c, err := s.Push(t.Context(), base, next, center.PushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return center.Version{Commit: c, Doc: next}
	}
	head := push(center.Version{}, doc)
	dir := filepath.Join(t.TempDir(), "tables")
	limitMB, limit := 100+200*n/100_000, time.Second+2*time.Second*time.Duration(n)/100_000
	peak := filepath.Join(t.TempDir(), "peak")
	command := func(name string, args ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], args...)
		cmd.Env = append(os.Environ(), selfEnv+"="+peak, "EDGE_CFG_ENDPOINTS="+server)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		begin := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		took := time.Since(begin)
		text, err := os.ReadFile(peak)
		if err != nil {
			t.Fatal(err)
		}
		rss, err := strconv.Atoi(string(text))
		if err != nil {
			t.Fatal(err)
		}
		rss /= 1024
		cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		t.Logf("%-22s %d variables: %4d MB, %.2f s of processor time, %.2f s", name, n, rss, cpu.Seconds(), took.Seconds())
		if rss > limitMB {
			t.Errorf("%s needs %d MB, more than %d", name, rss, limitMB)
		}
		if cpu > 2*limit { // two processors
			t.Errorf("%s needs %s of processor time, more than %s", name, cpu, 2*limit)
		}
	}
	command("pull into nothing", "pull", dir)
	command("pull, nothing new", "pull", dir)
	command("diff, nothing new", "diff", dir, "--exit-code")
	item := `{"access":"R","address":{"addr":1,"type":"holding"},"datatype":"uint16","driver_id":"modbus_0","tag":"plant.area0.flow_000000"}`
	delta := config.Delta{Put: map[config.Table]map[string]json.RawMessage{config.Variables: {"plant.area0.flow_000000": json.RawMessage(item)}}}
	next, err := delta.Apply(doc)
	if err != nil {
		t.Fatal(err)
	}
	push(head, next)
	command("diff, one changed", "diff", dir)
	command("pull, one changed", "pull", dir)
	command("push --dry-run", "push", dir, "--dry-run")
	command("lint", "lint", dir)
	appendTo(t, filepath.Join(dir, "variables.yml"), `- {tag: here, driver_id: modbus_0, access: R, address: {type: holding, addr: 2}, datatype: uint16}`)
	command("set", "set", "variables/plant.area0.flow_000000", "unit=bar", "--no-wait")
	command("pull, both changed", "pull", dir)
	command("push", "push", dir, "-y", "--no-wait")
	command("log", "log")
	command("show", "show")
	command("show -o json", "show", "-o", "json")
	command("export --csv", "export", "--csv", "-")
}
