package bus

import (
	"errors"
	"testing"
)

// TestWitness holds a log to what was seen of it.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, testConfig(dir), Deps{})
	publish(t, b, batchOf(testSet("plc", 10), 10, 1))
	syncBus(t, b)
	early := b.Claim()
	must(t, b.Close())

	told := make(chan *Behind, 10)
	b = openBus(t, testConfig(dir), Deps{OnBehind: func(b *Behind) { told <- b }})
	epoch := b.Epoch()
	publish(t, b, batchOf(testSet("plc", 10), 90, 1)) // numbers that were used, if somebody saw them
	syncBus(t, b)
	for _, fine := range []Seen{
		{}, early, {Epoch: epoch, Seq: 10, Run: "other"}, {Epoch: epoch, Seq: 100, Run: b.Claim().Run},
		{Epoch: "0000000000000001", Seq: 999}, {Epoch: "ffffffffffffffff", Seq: 1}, {Epoch: "x", Seq: 999},
	} {
		if err := b.Witness(fine, "test"); err != nil {
			t.Errorf("%+v: %v", fine, err)
		}
	}
	later := Seen{Epoch: epoch, Seq: 50, Run: "other"}
	var behind *Behind
	if err := b.Witness(later, "the broker"); !errors.As(err, &behind) || behind.Head != 10 || behind.Seq != 50 {
		t.Fatalf("a log that ended at 10, of which 50 frames were seen: %v", err)
	}
	if got := b.Claim(); got != later {
		t.Errorf("what was seen would be forgotten for %+v", got)
	}
	_ = b.Witness(Seen{Epoch: epoch, Seq: 60, Run: "third"}, "another") // told already
	if n := len(told); n != 1 {
		t.Errorf("told %d times", n)
	}

	c := openReader(t, b, "mqtt")
	if _, err := b.NewEpoch(); !errors.Is(err, ErrInUse) {
		t.Errorf("a new epoch under a consumer: %v", err)
	}
	c.Close()
	next, err := b.NewEpoch()
	if err != nil || next <= epoch || b.Claim().Epoch != next {
		t.Fatalf("new epoch %q after %q, %v", next, epoch, err)
	}
	if err := b.Witness(later, "the broker"); err != nil {
		t.Errorf("after the new epoch: %v", err)
	}
	c = openReader(t, b, "mqtt")
	publish(t, b, batchOf(testSet("plc", 10), 10, 100)) // the numbers go on
	c.Seek(101)                                         // whether the collector has been there or not
	readTo(t, c, 101, 110, 0)
	if err := b.Witness(Seen{Epoch: "7fffffffffff0000", Seq: 1}, "noise"); err != nil {
		t.Errorf("an epoch of the year 6429: %v", err)
	}
}

// Somebody who may publish where the gateway keeps how far its log has come makes it begin
// an epoch. He can't make it the last one: epochs still sort, and the guard still holds.
func TestMadeUpClaim(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, testConfig(dir), Deps{})
	made := Seen{Epoch: "07ffffffffffffff", Seq: 1 << 63, Run: "made up"} // the latest that is believed
	for range 3 {
		if err := b.Witness(made, "the broker"); err == nil {
			t.Fatalf("%+v is not believed: this test should know the latest that is", made)
		}
		next, err := b.NewEpoch()
		if err != nil || next <= made.Epoch {
			t.Fatalf("%q after %q, %v", next, made.Epoch, err)
		}
		publish(t, b, batchOf(testSet("plc", 10), 10, 1))
		syncBus(t, b)
		must(t, b.Close())
		b = openBus(t, testConfig(dir), Deps{})
		if b.Epoch() != next {
			t.Fatalf("epoch %q, was %q", b.Epoch(), next)
		}
		if err := b.Witness(Seen{Epoch: "07ffffffffffffff", Seq: 1 << 63}, "the broker"); err != nil {
			t.Errorf("the same again: %v", err)
		}
		made = Seen{Epoch: next, Seq: b.Claim().Seq + 1, Run: "of a log that went further"}
	}
}
