package page

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The look into the log for one tag.
const (
	hour      = time.Hour
	readLimit = 2 * time.Second // of one look; polls come first
	buckets   = 300             // of the hour
	texts     = 50              // values that are no numbers
)

// windows are the parts of the hour, newest first: how long ago each begins.
// What there is no time for is left out at the old end.
var windows = [...]time.Duration{5 * time.Second, 20 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, hour}

// tagAnswer is one tag, and what the log has of it.
type tagAnswer struct {
	Now    time.Time `json:"now"`
	Tag    *pb.Tag   `json:"tag"`
	From   time.Time `json:"from"`   // the log was read from here on
	Whole  bool      `json:"whole"`  // that is all of the hour
	Points []point   `json:"points"` // oldest first
	Texts  []text    `json:"texts"`  // values that are no numbers, newest first
}

// point sums up the frames of a part of the hour.
type point struct {
	At      int64   `json:"at"` // ms since 1970: its first frame
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Quality string  `json:"quality"` // the worst
	None    bool    `json:"none"`    // no value is known

	worst  frame.Quality
	bucket int64
}

type text struct {
	At      int64  `json:"at"`
	Value   *shown `json:"value"`
	Quality string `json:"quality"`
}

// shown is a value as the API shows it.
type shown frame.Value

// MarshalJSON implements [json.Marshaler].
func (v *shown) MarshalJSON() ([]byte, error) { return frame.Value(*v).AppendJSON(nil), nil }

func (p *Page) tag(w http.ResponseWriter, r *http.Request) {
	tag, err := p.look.Tag(r.Context(), r.URL.Query().Get("name"))
	if err != nil {
		p.answer(w, nil, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*readLimit)
	defer cancel()
	select {
	case p.reading <- struct{}{}: // one at a time
		defer func() { <-p.reading }()
	case <-ctx.Done():
		p.answer(w, nil, errors.New("others read the log; it is tried again"))
		return
	}
	a, err := p.lastHour(ctx, tag)
	p.answer(w, a, err)
}

// lastHour reads the log from its end backwards.
func (p *Page) lastHour(ctx context.Context, tag *pb.Tag) (*tagAnswer, error) {
	now := time.Now()
	a := &tagAnswer{Now: now, Tag: tag, From: now, Points: []point{}, Texts: []text{}}
	limited, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	var to time.Time // open: the newest frame
	for _, back := range windows {
		part := series{begin: now.Add(-hour).UnixNano()}
		r := admin.Range{FromTime: now.Add(-back), ToTime: to, Filter: frame.Filter{
			Tags: []string{tag.Name}, Drivers: []string{tag.Driver}, Kinds: []frame.Kind{frame.Data},
		}}
		err := p.look.Frames(limited, r, func(batches []*frame.Batch) error {
			for _, b := range batches {
				for i := range b.Frames {
					part.add(&b.Frames[i])
				}
			}
			return limited.Err()
		})
		if limited.Err() != nil && ctx.Err() == nil {
			return a, nil // the time is over, and what was read before is whole
		}
		if err != nil {
			return nil, err
		}
		a.Points = append(part.points, a.Points...)
		slices.Reverse(part.texts)
		a.Texts = append(a.Texts, part.texts[:min(len(part.texts), texts-len(a.Texts))]...)
		to, a.From = r.FromTime, r.FromTime
	}
	a.Whole = true
	return a, nil
}

// series gathers frames of one tag, oldest first.
type series struct {
	begin  int64
	points []point
	texts  []text
}

func (s *series) add(f *frame.Frame) {
	v, isNumber := f.Value.Number()
	at := time.Unix(0, f.TS)
	if !isNumber && !f.Value.IsNone() {
		value := shown(f.Value)
		if s.texts = append(s.texts, text{at.UnixMilli(), &value, f.Quality.String()}); len(s.texts) > 2*texts {
			s.texts = slices.Delete(s.texts, 0, texts)
		}
		return
	}
	none := !isNumber || math.IsNaN(v) || math.IsInf(v, 0)
	bucket := (f.TS - s.begin) / int64(hour/buckets)
	n := len(s.points)
	if n == 0 || s.points[n-1].bucket != bucket || s.points[n-1].None != none {
		if none {
			v = 0
		}
		s.points = append(s.points, point{At: at.UnixMilli(), Min: v, Max: v, None: none, bucket: bucket, worst: f.Quality, Quality: f.Quality.String()})
		return
	}
	p := &s.points[n-1]
	if !none {
		p.Min, p.Max = min(p.Min, v), max(p.Max, v)
	}
	if f.Quality > p.worst {
		p.worst, p.Quality = f.Quality, f.Quality.String()
	}
}
