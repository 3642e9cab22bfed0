package rollout

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/selector"
)

// Spec says who is in a wave, as a person writes it: "5", "10%", "ring=pilot",
// "site=lyon:5", "site=lyon:10%".
type Spec struct {
	text    string
	selects *selector.Selector // nil: all
	count   int                // of them; with percent, in a hundred; 0: all
	percent bool
}

// String returns the spec as it was written.
func (s Spec) String() string { return s.text }

// ParseSpec reads a spec. What is a number, or ends with %, is no label.
func ParseSpec(text string) (Spec, error) {
	s := Spec{text: strings.TrimSpace(text)}
	who, many, both := strings.Cut(s.text, ":")
	all := !both && isCount(who)
	if all {
		many = who
	}
	var err error
	if all || both {
		if s.count, s.percent, err = parseCount(many); err != nil {
			return s, fmt.Errorf("wave %q: %w", s.text, err)
		}
	}
	if all {
		return s, nil
	}
	selects, err := selector.Parse(who)
	if err != nil {
		return s, fmt.Errorf("wave %q: %w", s.text, err)
	}
	s.selects = &selects
	return s, nil
}

// isCount reports whether a text is meant as a number, or a share.
func isCount(text string) bool {
	return text != "" && strings.Trim(strings.TrimSuffix(text, "%"), "0123456789") == ""
}

func parseCount(text string) (n int, percent bool, err error) {
	digits, percent := strings.CutSuffix(text, "%")
	most := int64(1_000_000)
	if percent {
		most = 100
	}
	v, err := number.Int(digits, 1, most)
	if err != nil {
		return 0, percent, fmt.Errorf("%q: expected a number of gateways, or a share from 1%% to 100%%", text)
	}
	return int(v), percent, nil
}

// Member is a gateway that a rollout changes.
type Member struct {
	ID     string
	Labels map[string]string
	Online bool // when the rollout begins: it is counted then
}

// Assign gives each member its wave, from 1, by its place in the list. A member is in the
// first wave that takes it. Of those that a spec matches, a number takes so many that are
// left, and a share so many in a hundred of all, rounded up: those online first, spread by
// the hash of seed and id. It is an error if a wave has nobody, or somebody no wave.
func Assign(seed string, specs []Spec, members []Member) ([]int, error) {
	order := make([]int, len(members))
	hashes := make([][sha256.Size]byte, len(members))
	for i, m := range members {
		order[i], hashes[i] = i, sha256.Sum256([]byte(seed+"\x00"+m.ID))
	}
	slices.SortFunc(order, func(a, b int) int {
		if members[a].Online != members[b].Online {
			if members[a].Online {
				return -1
			}
			return 1
		}
		return cmp.Or(slices.Compare(hashes[a][:], hashes[b][:]), cmp.Compare(members[a].ID, members[b].ID))
	})
	waves := make([]int, len(members))
	for n, spec := range specs {
		if !spec.take(n+1, waves, order, members) {
			return nil, fmt.Errorf("wave %d, %s: it takes none of the gateways that are left", n+1, spec)
		}
	}
	var left []string
	for i, w := range waves {
		if w == 0 {
			left = append(left, members[i].ID)
		}
	}
	if len(left) > 0 {
		slices.Sort(left)
		return nil, fmt.Errorf("%d of %d gateways are in no wave (%s): add a last one that takes them, such as 100%%",
			len(left), len(members), strings.Join(left[:min(len(left), 5)], ", "))
	}
	return waves, nil
}

// take puts the members that a spec takes into wave n; false: there is none.
func (s Spec) take(n int, waves, order []int, members []Member) bool {
	var matched, free []int
	for _, i := range order {
		if s.selects != nil && !s.selects.Matches(members[i].Labels) {
			continue
		}
		matched = append(matched, i)
		if waves[i] == 0 {
			free = append(free, i)
		}
	}
	most := len(free)
	switch {
	case s.percent:
		most = min(most, (len(matched)*s.count+99)/100)
	case s.count > 0:
		most = min(most, s.count)
	}
	for _, i := range free[:most] {
		waves[i] = n
	}
	return most > 0
}
