package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// How often a stream tells what is new, and what part of a processor that may take, one
// in so many.
const (
	every = time.Second
	share = 20
	rare  = 3 * time.Second // at least so often
)

// The times of a stream.
const (
	askTimeout   = 5 * time.Second  // for every part to answer
	writeTimeout = 10 * time.Second // for the client to take an event
)

// applies is how many attempts to apply a configuration are shown.
const applies = 20

// overview is what all streams share: every part, as it was at most a second ago.
type overview struct {
	look *admin.Look

	mu    sync.Mutex
	at    time.Time
	every time.Duration
	last  sample
	err   error
}

// sample is every part at one moment.
type sample struct {
	at    time.Time
	parts []part
}

// part is one part of the gateway, rendered.
type part struct {
	name string
	text []byte
}

// get returns the parts. One that didn't answer is an error for all.
func (o *overview) get() (sample, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	began := time.Now()
	if !o.at.IsZero() && began.Sub(o.at) < o.every {
		return o.last, o.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout) // all wait for it: no single client ends it
	defer cancel()
	parts, err := o.ask(ctx)
	o.at = time.Now()
	o.last, o.err = sample{o.at, parts}, err
	o.every = max(every*9/10, min(share*o.at.Sub(began), rare))
	return o.last, o.err
}

func (o *overview) ask(ctx context.Context) ([]part, error) {
	v, err := o.look.Overview(ctx, applies)
	if err != nil {
		return nil, err
	}
	parts := []part{{name: "status"}, {name: "endpoints"}, {name: "drivers"}, {name: "connectors"}, {name: "bus"}, {name: "config"}, {name: "applies"}}
	for i, m := range []any{v.Status, v.Endpoints, v.Drivers, v.Connectors, v.Bus, v.Config, v.Applies} {
		if parts[i].text, err = json.Marshal(m); err != nil {
			return nil, fmt.Errorf("%s: %w", parts[i].name, err)
		}
	}
	return parts, nil
}

// events streams what is new until the client goes: an object with the parts that have
// changed, and each step of an apply as it comes.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d pages are open already", maxStreams))
		return
	}
	s := &stream{w: w, control: http.NewResponseController(w), seen: map[string][]byte{}}
	// The server's bounds are for requests that end.
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		p.log.Debug("status page: no stream without deadlines", "error", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if err := p.stream(r.Context(), s); err != nil && r.Context().Err() == nil {
		p.log.Debug("status page: a stream ended", "error", err)
	}
}

// stream is one client's.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	seen    map[string][]byte // what it was told of each part
	buf     bytes.Buffer
}

func (p *Page) stream(ctx context.Context, s *stream) error {
	ctx, cancel := context.WithCancel(ctx)
	steps := make(chan *pb.WatchConfigResponse, 64)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		err := p.look.WatchConfig(ctx, func(e *pb.WatchConfigResponse) {
			select {
			case steps <- e:
			default: // the outcome stands among the applies
			}
		})
		if err != nil && ctx.Err() == nil {
			p.log.Debug("status page: applies are not shown as they go", "error", err)
		}
	}()
	defer func() {
		cancel()
		<-watched
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := s.tell(p.overview.get()); err != nil {
			return err
		}
		for next := false; !next; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				next = true
			case e := <-steps:
				if err := s.send("apply", e); err != nil {
					return err
				}
			}
		}
	}
}

// tell sends the parts that have changed.
func (s *stream) tell(of sample, err error) error {
	body := map[string]any{"now": time.Now(), "at": of.at}
	if err != nil {
		body["error"] = err.Error()
	}
	for _, p := range of.parts {
		if !bytes.Equal(s.seen[p.name], p.text) {
			s.seen[p.name], body[p.name] = p.text, json.RawMessage(p.text)
		}
	}
	return s.send("parts", body)
}

func (s *stream) send(event string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	s.buf.Reset()
	fmt.Fprintf(&s.buf, "event: %s\ndata: %s\n\n", event, text)
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	return s.control.Flush()
}
