package s7

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// listing is what edge-ctl browse says of a block.
type listing struct {
	Block string `json:"block"`
	Bytes int    `json:"bytes"`
}

// browse runs edge-ctl browse.
func browse(t *testing.T, args ...string) (list []listing) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Build(t, "edge-ctl"), append([]string{"browse", "-o", "json"}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("browse %v: %v: %s", args, err, said.String())
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("browse %v: %v: %s", args, err, out)
	}
	return list
}

// The blocks of snap7's server with their sizes: dialled from here, and over the connection
// of the gateway, of which the server has one only.
func TestBrowse(t *testing.T) {
	blocks := map[int]string{}
	for i := range 120 {
		blocks[1+2*i] = strings.Repeat("00", 10+i)
	}
	srv := serve(t, settings{Clients: 1, PDU: 240, Blocks: blocks})
	check := func(list []listing) {
		t.Helper()
		if len(list) != len(blocks) {
			t.Errorf("%d blocks, want %d", len(list), len(blocks))
		}
		for i, b := range list {
			if want := (listing{fmt.Sprintf("DB%d", 1+2*i), 10 + i}); b != want {
				t.Errorf("block %d is %+v, want %+v", i, b, want)
			}
		}
	}
	check(browse(t, fmt.Sprintf("s7://127.0.0.1:%d", srv.cfg.Port), "DB", "--slot", "2", "--direct"))

	gw := peer.NewGateway(t, "connectors: {}\n", plant(srv.cfg.Port, 5))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, patience, "polling", func() bool { n, _ := gw.Metric(`s7_value_total{driver_id="line"}`); return n > 0 })
	check(browse(t, "plc", "--socket", gw.Socket()))
	if one := browse(t, "plc", "DB239", "--socket", gw.Socket()); len(one) != 1 || one[0].Bytes != 129 {
		t.Errorf("DB239: %+v", one)
	}
}
