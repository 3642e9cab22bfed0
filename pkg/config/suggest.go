package config

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that word was most likely meant to be, "" if
// none is close: at most a third of its letters differ, counting a swap of
// neighbours as one difference.
func Nearest(word string, candidates []string) string {
	const longest = 64 // nothing longer is a typing error of a key
	if word == "" || len(word) > longest {
		return ""
	}
	letters := len([]rune(word))
	best, bestDistance := "", min(max(1, letters/3), letters-1)+1
	candidates = slices.Sorted(slices.Values(candidates))
	for _, c := range candidates {
		if len(c) > longest || c == word {
			continue
		}
		if strings.EqualFold(c, word) {
			return c
		}
		if d := distance([]rune(word), []rune(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// didYouMean returns the end of a message about an unknown word.
func didYouMean(word string, candidates []string) string {
	if n := Nearest(word, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// distance is the optimal string alignment distance of a and b.
func distance(a, b []rune) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, prev, cur := rows[0], rows[1], rows[2]
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
