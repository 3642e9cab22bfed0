// Package apply changes the configuration of a running plant: the real edge-gw as a
// child process with the config center embedded in it or beside it, simulated PLCs
// that know when they were asked and what they answered, a real Mosquitto, and the
// reference consumer's ledger. The package document of pkg/apply says what must
// hold; here it is held to that while processes are killed, etcd is lost, and
// pushes race.
package apply

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

func TestMain(m *testing.M) {
	if n := os.Getenv(farmEnv); n != "" {
		if err := runFarm(n); err != nil {
			fmt.Fprintln(os.Stderr, "farm:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	// They wait for other processes most of the time.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}
