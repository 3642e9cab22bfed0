package admin

import (
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// namesShown is how many of those that have one problem are named.
const namesShown = 3

// named lists names, the first ones if there are many.
func named(names []string) string {
	if n := len(names) - namesShown; n > 0 {
		names = append(names[:namesShown:namesShown], fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

// grouped makes one problem of those of one cause: what 40 units on a dead line have
// to say differs in their numbers alone. The order is that of the first ones.
func grouped(problems []*pb.Problem) []*pb.Problem {
	type cause struct{ part, text string }
	var out []*pb.Problem
	at := map[cause]int{}
	names := map[int][]string{}
	for _, p := range problems {
		c := cause{p.Part, strings.Join(strings.FieldsFunc(strings.ReplaceAll(p.Text, p.Name, ""), unicode.IsDigit), "#")}
		i, known := at[c]
		if !known {
			at[c], names[len(out)] = len(out), []string{p.Name}
			out = append(out, proto.CloneOf(p))
			continue
		}
		g := out[i]
		if p.Text != g.Text && len(names[i]) == 1 {
			g.Text += " (the others: alike)"
		}
		if p.Since != nil && (g.Since == nil || p.Since.AsTime().Before(g.Since.AsTime())) {
			g.Since = p.Since
		}
		names[i] = append(names[i], p.Name)
		g.Name = named(names[i])
	}
	return out
}
