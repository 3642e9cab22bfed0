package mqtt

import (
	"slices"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// stats counts what a connector does, for its status and its metrics.
type stats struct {
	name string
	m    *metrics

	mu     sync.Mutex
	status connector.Status // the counters of it
	frames recent           // of the last messages
	rtt    recent           // of the last messages, milliseconds
}

// recent holds the last values of something.
type recent struct {
	values [256]float64
	n      int // ever added
}

func (r *recent) add(v float64) {
	r.values[r.n%len(r.values)] = v
	r.n++
}

// quantiles returns the average and the given quantiles, 0 if there is nothing.
func (r *recent) quantiles(qs ...float64) (avg float64, out []float64) {
	out = make([]float64, len(qs))
	sorted := slices.Clone(r.values[:min(r.n, len(r.values))])
	if len(sorted) == 0 {
		return 0, out
	}
	slices.Sort(sorted)
	for _, v := range sorted {
		avg += v / float64(len(sorted))
	}
	for i, q := range qs {
		out[i] = sorted[int(q*float64(len(sorted)-1)+0.5)]
	}
	return avg, out
}

// roundTrip is what a message takes from PUBLISH to the end of its handshake, as the
// slowest of the last ones did, 0 if there were none.
func (s *stats) roundTrip() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, q := s.rtt.quantiles(0.95)
	return time.Duration(q[0] * float64(time.Millisecond))
}

// unanswered notes a connection that was given up for want of an answer.
func (s *stats) unanswered() { s.m.unanswered.WithLabelValues(s.name).Inc() }

// parked notes a message that was put aside.
func (s *stats) parked() { s.m.parked.WithLabelValues(s.name).Inc() }

// batch notes a new message.
func (s *stats) batch(frames int) {
	s.m.batchFrames.Observe(float64(frames))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames.add(float64(frames))
}

// settled notes a message that the broker has accepted for good. A message that
// was completed from before a restart has no size: it was counted then, or lost
// to the count.
func (s *stats) settled(m *message) {
	ms := -1.0
	if !m.sentAt.IsZero() {
		ms = float64(time.Since(m.sentAt)) / float64(time.Millisecond)
		s.m.rtt.Observe(ms)
	}
	s.m.outBytes.Add(float64(m.size))
	s.m.outFrames.WithLabelValues(s.name).Add(float64(m.frames))
	s.mu.Lock()
	defer s.mu.Unlock()
	if ms >= 0 {
		s.rtt.add(ms)
	}
	s.status.OutBytes += uint64(m.size)
	s.status.OutMessages++
	s.status.OutFrames += uint64(m.frames)
}

// resent notes a message or a release that is sent on a new connection again.
func (s *stats) resent() {
	s.m.resent.WithLabelValues(s.name).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Resent++
}

// remade notes a message that could not be sent again as it was.
func (s *stats) remade(why string) { s.m.remade.WithLabelValues(s.name, why).Inc() }

// takenOver notes that another client has taken the connection.
func (s *stats) takenOver() { s.m.takeover.WithLabelValues(s.name).Inc() }

func (s *stats) refused(code byte) {
	s.m.refused.WithLabelValues(s.name, reasonLabel(code)).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Refused++
}

func (s *stats) inflight(n int) {
	s.m.inflight.WithLabelValues(s.name).Set(float64(n))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Inflight = n
}

func (s *stats) reconnect() {
	s.m.retryTotal.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Reconnects++
}

// fill completes a status.
func (s *stats) fill(st *connector.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.status
	st.Reconnects, st.Inflight, st.Resent, st.Refused = c.Reconnects, c.Inflight, c.Resent, c.Refused
	st.OutBytes, st.OutMessages, st.OutFrames = c.OutBytes, c.OutMessages, c.OutFrames
	_, f := s.frames.quantiles(0.5, 0.95)
	st.BatchFramesP50, st.BatchFramesP95 = f[0], f[1]
	avg, r := s.rtt.quantiles(0.95)
	st.RTTAvgMs, st.RTTP95Ms = avg, r[0]
}

// delivered returns the number of messages accepted so far.
func (s *stats) delivered() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.OutMessages
}
