package driver

import (
	"slices"
	"time"
)

const (
	latencies   = 256 // answers at most that the quantiles are of
	quantilesOf = time.Minute
	recentSlots = 7 // six whole ones and the one that is being filled
	slotLength  = 10 * time.Second
)

// Minute keeps what happened in the last minute, in slots of ten seconds. The zero
// Minute is ready; it is for one goroutine at a time.
type Minute[T any] struct {
	slots [recentSlots]struct {
		began time.Time
		value T
	}
}

// At returns what the slot that now falls in holds.
func (m *Minute[T]) At(now time.Time) *T {
	began := now.Truncate(slotLength)
	s := &m.slots[began.Unix()/int64(slotLength/time.Second)%recentSlots]
	if !s.began.Equal(began) {
		s.began, s.value = began, *new(T)
	}
	return &s.value
}

// Each calls f with each slot of the last minute.
func (m *Minute[T]) Each(now time.Time, f func(*T)) {
	for i := range m.slots {
		if s := &m.slots[i]; now.Sub(s.began) < recentSlots*slotLength {
			f(&s.value)
		}
	}
}

// Figures count what a driver does, in its status and beyond: the last latencies, and
// what happened in the last minute. The driver's mutex guards both.
type Figures struct {
	latency [latencies]time.Duration
	at      [latencies]int64 // Unix seconds of the answers
	n       int              // of latency, ever
	recent  Minute[Recent]
}

// Answered counts an answer; took is 0 where it was not waited for.
func (f *Figures) Answered(st *Status, now time.Time, took time.Duration) {
	st.Polls++
	st.LastRead, st.Error = now, ""
	if st.FirstRead.IsZero() {
		st.FirstRead = now
	}
	if took > 0 {
		f.latency[f.n%latencies], f.at[f.n%latencies] = took, now.Unix()
		f.n++
	}
	f.recent.At(now).Polls++
}

// Cycled counts a cycle that begins, and those that were skipped before it.
func (f *Figures) Cycled(st *Status, now time.Time, skipped int) {
	st.Cycles += uint64(1 + skipped)
	st.Overruns += uint64(skipped)
	r := f.recent.At(now)
	r.Cycles += uint64(1 + skipped)
	r.Overruns += uint64(skipped)
}

// Failed counts requests that failed, and that are repeated.
func (f *Figures) Failed(st *Status, now time.Time, failed, repeated int) {
	st.Errors += uint64(failed)
	st.Retries += uint64(repeated)
	r := f.recent.At(now)
	r.Errors += uint64(failed)
	r.Retries += uint64(repeated)
}

// Fill completes a copy of the status.
func (f *Figures) Fill(st *Status, now time.Time) {
	f.recent.Each(now, func(r *Recent) {
		st.LastMinute.Cycles += r.Cycles
		st.LastMinute.Overruns += r.Overruns
		st.LastMinute.Polls += r.Polls
		st.LastMinute.Retries += r.Retries
		st.LastMinute.Errors += r.Errors
	})
	var buf [latencies]time.Duration
	sorted := f.since(buf[:0], now.Unix()-int64(quantilesOf/time.Second))
	if len(sorted) == 0 {
		sorted = f.since(sorted, 0) // the last ones there were
	}
	n := len(sorted)
	if n == 0 {
		return
	}
	slices.Sort(sorted)
	st.LatencyP50, st.LatencyP99 = sorted[(n-1)/2], sorted[(n-1)*99/100]
}

// since appends to list the latencies of answers that came at oldest or later.
func (f *Figures) since(list []time.Duration, oldest int64) []time.Duration {
	for i := range min(f.n, latencies) {
		if f.at[i] >= oldest {
			list = append(list, f.latency[i])
		}
	}
	return list
}
