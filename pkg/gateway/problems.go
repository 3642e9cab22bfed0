package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// feedProblems says what is wrong with where the tables come from. Why what is wanted
// there does not run is in the state of the configuration.
func feedProblems(st feed.Status) []*pb.Problem {
	if st.Link.Connected || st.Link.Error == "" || strings.Contains(st.Error, st.Link.Error) {
		return nil
	}
	return []*pb.Problem{{
		Part: "config", Name: "source", Text: "not connected: " + st.Link.Error, Since: admin.Timestamp(st.Link.Since),
		Hint: "what runs goes on, and no change arrives meanwhile",
	}}
}

// driverProblems says what is wrong below the state of a driver: tags that are
// bad, devices that are too slow for their polling, requests that are repeated.
// Problems of one cause are one.
func driverProblems(drivers []driver.DriverStatus, tags []driver.TagStatus) []*pb.Problem {
	var list []*pb.Problem
	byDriver := map[string][]*driver.TagStatus{}
	for i := range tags {
		t := &tags[i]
		byDriver[t.Driver] = append(byDriver[t.Driver], t)
	}
	for i := range drivers {
		d := &drivers[i]
		if d.State == driver.Fault || d.State == driver.Paused {
			continue // it is told, and explains the tags
		}
		add := func(p *pb.Problem) {
			p.Part, p.Name = "driver", d.ID
			list = append(list, p)
		}
		if d.Device.Text != "" {
			add(&pb.Problem{Text: fmt.Sprintf("%d of %s %s bad: %s", d.Bad, words.Count(d.Tags, "tag"), words.Are(d.Bad), d.Device.Text), Since: admin.Timestamp(d.Device.Since), Hint: d.Device.Hint})
		} else {
			tagProblems(d, byDriver[d.ID], add)
		}
		for _, judge := range []func(*pb.Driver) *pb.Problem{admin.Slow, admin.Lossy} {
			if p := judge(driverMessage(d)); p != nil {
				add(p)
			}
		}
	}
	return list
}

// tagProblems adds a problem for each reason why tags of d are bad.
func tagProblems(d *driver.DriverStatus, tags []*driver.TagStatus, add func(*pb.Problem)) {
	groups := map[string][]*driver.TagStatus{}
	for _, t := range tags {
		if t.Reason.Text != "" && (!t.Last.Known || t.Last.Quality == frame.Bad) {
			groups[t.Reason.Text] = append(groups[t.Reason.Text], t)
		}
	}
	texts := make([]string, 0, len(groups))
	for text := range groups {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a, b))
	})
	for _, text := range texts {
		g := groups[text]
		since := g[0].Reason.Since
		for _, t := range g {
			if t.Reason.Since.Before(since) {
				since = t.Reason.Since
			}
		}
		add(&pb.Problem{Text: tagsText(g, d.Tags, text), Since: admin.Timestamp(since), Hint: g[0].Reason.Hint})
	}
}

// tagsText names the first of the tags that are bad for one reason.
func tagsText(g []*driver.TagStatus, all int, reason string) string {
	const named = 2
	names := make([]string, 0, named)
	for _, t := range g[:min(named, len(g))] {
		name := t.Tag
		if t.Address != "" {
			address, _, _ := strings.Cut(t.Address, " (")
			name += " (" + address + ")"
		}
		names = append(names, name)
	}
	text := strings.Join(names, ", ")
	if n := len(g) - len(names); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	what, detail, coded := strings.Cut(reason, ": ")
	switch {
	case !coded:
		what, detail = "bad", reason
	case strings.Contains(what, " "):
		what, detail = "bad", reason
	}
	if len(g) == 1 {
		return fmt.Sprintf("1 tag %s: %s: %s", what, text, detail)
	}
	return fmt.Sprintf("%d of %s %s: %s: %s", len(g), words.Count(all, "tag"), what, text, detail)
}
