package lint

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/overlay"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// Fleet checks a document with layers: the layers themselves, and what is rendered from
// them for each gateway. A finding is told once, at the place that it comes from, with
// the gateways that show it. doc must have been read without errors; src says where
// things stand in files, and may be nil.
func Fleet(doc *config.Document, src *config.Source, list protocols.List) config.Findings {
	f, problems := overlay.New(doc)
	l := &fleetLint{fleet: f, src: src, list: list, variants: map[*overlay.Variant]*variantLint{}, seen: map[config.Finding]*shown{}}
	var out config.Findings
	out = append(out, Layers(problems, src)...)
	ids := f.Gateways()
	for _, id := range ids {
		if r, err := f.Render(id); err == nil && l.variants[r.Variant] == nil {
			l.variants[r.Variant] = &variantLint{}
		}
	}
	l.all(ids)
	for finding, s := range l.seen {
		finding.Message += s.text(ids)
		out = append(out, finding)
	}
	out.Sort()
	return out
}

// fleetLint checks what is rendered for the gateways of a fleet.
type fleetLint struct {
	fleet    *overlay.Fleet
	src      *config.Source
	list     protocols.List
	variants map[*overlay.Variant]*variantLint

	mu   sync.Mutex
	seen map[config.Finding]*shown
}

// variantLint is what gateways of one variant share.
type variantLint struct {
	once     sync.Once
	snap     *config.Snapshot // nil: the variant has errors
	plain    sync.Once
	findings config.Findings // of a gateway without a layer of its own
}

// shown is on which gateways a finding shows, by their places in the sorted list.
type shown struct{ first, n int }

func (s *shown) text(ids []string) string {
	switch {
	case s.n == 1:
		return " [" + ids[s.first] + "]"
	case s.n == len(ids):
		return fmt.Sprintf(" [all %d gateways]", s.n)
	}
	return fmt.Sprintf(" [%s and %d more]", ids[s.first], s.n-1)
}

// all checks every gateway, on all processors.
func (l *fleetLint) all(ids []string) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return
				}
				l.count(i, l.gateway(ids[i]))
			}
		})
	}
	wg.Wait()
}

// count notes findings of gateway i.
func (l *fleetLint) count(i int, findings config.Findings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range findings {
		s := l.seen[f]
		if s == nil {
			s = &shown{first: i}
			l.seen[f] = s
		}
		s.n++
		s.first = min(s.first, i)
	}
}

// gateway checks what one gateway runs.
func (l *fleetLint) gateway(id string) config.Findings {
	r, err := l.fleet.Render(id)
	if err != nil {
		return nil // the fleet named it
	}
	v := l.variants[r.Variant]
	if !r.Own {
		v.plain.Do(func() { v.findings = l.rendered(r, v) })
		return v.findings
	}
	return l.rendered(r, v)
}

func (l *fleetLint) rendered(r *overlay.Rendered, v *variantLint) config.Findings {
	v.once.Do(func() {
		if snap, err := r.Variant.Doc.Snapshot(nil); err == nil {
			v.snap = snap
		}
	})
	return rendered(r, v.snap, l.src, l.list)
}

// Gateway checks what is rendered for one gateway, as [Fleet] does for all.
func Gateway(r *overlay.Rendered, src *config.Source, list protocols.List) config.Findings {
	return rendered(r, nil, src, list)
}

// rendered checks what is rendered for a gateway. prev is a similar snapshot, or nil.
func rendered(r *overlay.Rendered, prev *config.Snapshot, src *config.Source, list protocols.List) config.Findings {
	out := Layers(r.Problems, src)
	if out.Err() != nil {
		return out
	}
	snap, err := r.Doc.Snapshot(prev)
	if err != nil { // not reached: every item was checked
		return append(out, config.Finding{Severity: config.SeverityError, Rule: "fleet", Message: err.Error()})
	}
	at := src.Rendered(r.Origin)
	out = append(out, snap.ReferencesIn(at)...)
	out = append(out, Snapshot(snap, at, list)...)
	out.Sort()
	return out
}

// Layers makes problems of layers findings with places.
func Layers(problems []overlay.Problem, src *config.Source) config.Findings {
	var out config.Findings
	for _, p := range problems {
		f := p.Finding
		f.Key = config.Key(p.Place.Table, p.Place.ID, p.Place.Path...)
		if p.Also != nil {
			if at := src.Pos(p.Also.Table, p.Also.ID, p.Also.Path...); at.Line > 0 {
				f.Message += fmt.Sprintf(" (%s:%d)", at.File, at.Line)
			}
		}
		out = append(out, f.At(src.Pos(p.Place.Table, p.Place.ID, p.Place.Path...)))
	}
	out.Sort()
	return out
}

// layered checks tables with layers, as far as the files that were given allow it.
func (res *Result) layered(snap *config.Snapshot, src *config.Source) {
	if res.Findings.Err() != nil {
		return // what is rendered of it would be wrong for the same reasons
	}
	var missing []string
	for _, t := range []config.Table{config.Endpoints, config.Drivers, config.Variables, config.Gateways} {
		if !src.Has(t) {
			missing = append(missing, t.FileName())
		}
	}
	if len(missing) > 0 {
		res.Findings = append(res.Findings, config.Finding{Severity: config.SeverityWarning, Rule: "fleet",
			Message: "what gateways run is not checked, because that takes " + strings.Join(missing, ", ") + " too (an empty one will do)"})
		return
	}
	res.Findings = append(res.Findings, Fleet(snap.Document(), src, protocols.Builtin())...)
}
