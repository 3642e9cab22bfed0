package receiver

import "sort"

// Range is a run of sequence numbers, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// maxRuns bounds a set. A set that is fuller, since its frames have ever so many
// holes, forgets the older half of its holes.
const maxRuns = 1 << 20

// runs is a set of numbers as sorted runs that neither overlap nor touch.
type runs []Range

// add adds r and returns how many of its numbers were in the set before.
func (s *runs) add(r Range) (known uint64) {
	// The usual case: r continues the last run.
	if n := len(*s); n > 0 && (*s)[n-1].Last+1 == r.First {
		(*s)[n-1].Last = r.Last
		return 0
	}
	list := *s
	// lo…hi are the runs that overlap or touch r.
	lo := sort.Search(len(list), func(i int) bool { return list[i].Last+1 >= r.First })
	hi := lo
	merged := r
	for ; hi < len(list) && list[hi].First <= r.Last+1; hi++ {
		if first, last := max(list[hi].First, r.First), min(list[hi].Last, r.Last); first <= last {
			known += last - first + 1
		}
		merged.First, merged.Last = min(merged.First, list[hi].First), max(merged.Last, list[hi].Last)
	}
	switch {
	case hi == lo:
		list = append(list, Range{})
		copy(list[lo+1:], list[lo:])
		list[lo] = merged
	default:
		list[lo] = merged
		list = append(list[:lo+1], list[hi:]...)
	}
	if len(list) > maxRuns {
		list[0].Last = list[len(list)/2].Last
		list = append(list[:1], list[len(list)/2+1:]...)
	}
	*s = list
	return known
}

// contains reports whether n is in the set.
func (s runs) contains(n uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].Last >= n })
	return i < len(s) && s[i].First <= n
}

// holes returns what is missing between the runs.
func (s runs) holes() []Range {
	var out []Range
	for i := 1; i < len(s); i++ {
		out = append(out, Range{First: s[i-1].Last + 1, Last: s[i].First - 1})
	}
	return out
}
