package apply_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// histories is how many random histories are tried: EDGE_APPLY_HISTORIES, or so
// many that the tests stay short.
func histories(t *testing.T) int {
	text := os.Getenv("EDGE_APPLY_HISTORIES")
	if text == "" {
		return 2000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("EDGE_APPLY_HISTORIES=%q: expected a number of histories", text)
	}
	return n
}

// randomSnapshot makes any configuration of few items, so that every kind of
// change, alone and together, is common.
func randomSnapshot(random *rand.Rand, rev uint64) *config.Snapshot {
	s := newSite()
	for i := range 4 {
		s.endpoint(fmt.Sprint("e", i), fmt.Sprint("host", random.IntN(2)))
	}
	var ids []string
	for i := range 6 {
		if random.IntN(4) > 0 {
			id := fmt.Sprint("d", i)
			ids = append(ids, id)
			s.driver(id, fmt.Sprint("e", random.IntN(4)), fmt.Sprint(random.IntN(3)))
		}
	}
	for i := range 12 {
		if len(ids) > 0 && random.IntN(4) > 0 {
			s.vars = append(s.vars, config.Variable{Tag: fmt.Sprint("t", i+10), DriverID: ids[random.IntN(len(ids))],
				Access: config.AccessR, Datatype: config.TypeUint16, Scale: []string{"", "value / 10"}[random.IntN(2)]})
		}
	}
	if random.IntN(2) == 0 {
		s.setting("bus", strconv.Itoa(random.IntN(2)))
	}
	return s.rev(rev)
}

// After any history of configurations and failures what runs is exactly the last
// good snapshot, which is the last one that was reported as applied, and no tag
// ever was at two drivers.
func TestRandomHistories(t *testing.T) {
	outcomes := map[apply.Outcome]int{}
	for seed := range histories(t) {
		random := rand.New(rand.NewPCG(uint64(seed), 7))
		r := newRig(t, apply.VerifyInit)
		good := randomSnapshot(random, 1)
		r.boot(good)
		for rev := uint64(2); rev < 12; rev++ {
			next := randomSnapshot(random, rev)
			ctx, cancel := context.WithCancel(context.Background())
			countdown := random.IntN(60)
			kind := random.IntN(3)
			rollback := random.IntN(5) == 0 // a second failure, which may be the rollback's
			r.fail = func(context.Context, string) error {
				r.mu.Lock()
				defer r.mu.Unlock()
				countdown--
				if countdown != 0 && (countdown != -2 || !rollback) {
					return nil
				}
				if kind == 2 {
					cancel()
				}
				if kind == 0 {
					return errTest
				}
				return fmt.Errorf("%w: %w", driver.ErrStuck, errTest)
			}
			res := r.Apply(ctx, next, false)
			cancel()
			r.fail = nil
			outcomes[res.Outcome]++
			if res.Outcome == apply.BrokenDown {
				break // the process ends
			}
			if res.Outcome == apply.Applied {
				good = next
			}
			r.expect(res, res.Outcome, good)
			if t.Failed() {
				t.Fatalf("seed %d, rev %d, %s in %s: %v", seed, rev, res.Outcome, res.FailedIn, res.Err)
			}
		}
	}
	t.Logf("outcomes: %v", outcomes)
	for _, o := range []apply.Outcome{apply.Applied, apply.Rejected, apply.RolledBack, apply.BrokenDown} {
		if outcomes[o] == 0 {
			t.Errorf("no history had the outcome %s: the test tests less than it says", o)
		}
	}
}
