package center

import "testing"

// TestFleetPutBack: the store of a fleet is put back to an image of its disk.
func TestFleetPutBack(t *testing.T) {
	t.Run("to before a rollout", func(t *testing.T) {
		t.Parallel() // it waits for leases and connections
		m := newMachine(t)
		f := startFleetOn(t, m.endpoint, "a1", "b1")
		roll := func() {
			t.Helper()
			eventually(t, "the pilot is online again", func() bool {
				_, err := f.s.Push(t.Context(), mustLoad(t, f.s), f.new, PushOptions{Rollout: inWaves(t, "ring=a", "100%")})
				return err == nil
			})
		}
		m.image()
		roll()
		f.all("it goes through", f.new, f.names...)
		m.putBack(nil)
		f.all("all follow what the store has", f.old, f.names...)
		roll()
		f.all("the same again goes through", f.new, f.names...)
		eventually(t, "it is done", stands(t, f.s, "done"))
	})
	// The store has lost that a person opened all waves, and votes. Nobody returns for that,
	// the votes that count are cast again, and the person has to open the rest again.
	t.Run("into a rollout", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		f := startFleetOn(t, m.endpoint, "a1", "b1")
		plan := inWaves(t, "ring=a", "100%")
		plan.Manual = true
		mustRoll(t, f.s, f.new, plan)
		m.image()
		act(t, f.s, ActAll)
		f.all("all cross", f.new, f.names...)
		eventually(t, "it is done", stands(t, f.s, "done"))
		m.putBack(nil)
		eventually(t, "the vote of the first wave is there again", func() bool {
			r, err := f.s.Rollout(t.Context())
			return err == nil && r.State == "running" && r.OK == 1 && r.Reached == 1
		})
		f.all("nobody returned", f.new, f.names...)
		act(t, f.s, ActAll)
		eventually(t, "it is done again", stands(t, f.s, "done"))
		for _, name := range f.names {
			if n := f.gws[name].count(); n != 2 {
				t.Errorf("%s applied %d", name, n)
			}
		}
	})
}
