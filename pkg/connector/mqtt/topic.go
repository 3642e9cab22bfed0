package mqtt

import (
	"strings"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// ownDriver stands for {driver} in the topics of the gateway's own frames, which
// no driver made.
const ownDriver = "sys"

// maxLevel bounds a name in a topic, in bytes: a tag has 128 letters at most.
const maxLevel = 512

// maxCachedSets bounds the topics that are kept per tag set.
const maxCachedSets = 512

// router finds the topic of each frame. It is for one goroutine.
type router struct {
	template string // {gateway}, {tenant} and {device} are filled in
	fixed    bool   // every frame has the same topic
	perTag   bool
	sets     map[*frame.TagSet][]string // a topic per tag; one for all unless perTag
}

func newRouter(template string) *router {
	r := &router{template: template, sets: map[*frame.TagSet][]string{}}
	r.perTag = strings.Contains(template, "{tag}")
	r.fixed = !r.perTag && !strings.Contains(template, "{driver}")
	return r
}

// uniform returns the topic of all of s's tags, if they share one.
func (r *router) uniform(s *frame.TagSet) (string, bool) {
	if r.fixed {
		return r.template, true
	}
	if r.perTag {
		return "", false
	}
	return r.topics(s)[0], true
}

// topic returns the topic of one tag of s.
func (r *router) topic(s *frame.TagSet, tag uint32) string { return r.topics(s)[tag] }

func (r *router) topics(s *frame.TagSet) []string {
	if t, ok := r.sets[s]; ok {
		return t
	}
	if len(r.sets) >= maxCachedSets {
		clear(r.sets)
	}
	driver := s.Driver
	if driver == "" {
		driver = ownDriver
	}
	template := strings.ReplaceAll(r.template, "{driver}", level(driver))
	topics := []string{template}
	if r.perTag {
		topics = make([]string, len(s.Tags))
		for i, t := range s.Tags {
			topics[i] = strings.ReplaceAll(template, "{tag}", level(t.Name))
		}
	}
	r.sets[s] = topics
	return topics
}

// level makes one level of a topic of a name. Tables allow no other names, but a log may
// come from a backup that somebody made: a broker hangs up on a topic with + or #, and a
// name with / leads to topics of others.
func level(name string) string {
	if len(name) > maxLevel {
		name = strings.ToValidUTF8(name[:maxLevel], "")
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || strings.ContainsRune("/+#$", r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, name)
}
