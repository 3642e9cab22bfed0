package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// pages returns what people read, by its path from the repository's root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out[strings.TrimPrefix(filepath.ToSlash(path), "../../")] = string(text)
		}
	}
	if len(out) < 30 {
		t.Fatalf("%d pages", len(out))
	}
	return out
}

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	span    = regexp.MustCompile("`[^`\n]*`")
	linkTo  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
)

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(strings.TrimSpace(m[1])) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				b.WriteRune(r)
			}
		}
		out[b.String()] = true
	}
	return out
}

// TestLinks: each link within the repository leads to a file that is there, and to a
// heading that is in it; one elsewhere is encrypted.
func TestLinks(t *testing.T) {
	all := pages(t)
	checked := 0
	for name, page := range all {
		for _, m := range linkTo.FindAllStringSubmatch(span.ReplaceAllString(fence.ReplaceAllString(page, ""), ""), -1) {
			checked++
			target, anchor, _ := strings.Cut(m[1], "#")
			switch {
			case strings.HasPrefix(target, "https://"), strings.HasPrefix(target, "mailto:"):
				continue
			case strings.Contains(target, "://"):
				t.Errorf("%s: %s is not https", name, m[1])
				continue
			}
			to := name
			if target != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s: %s: there is no such file", name, m[1])
			} else if text, isPage := all[to]; anchor != "" && isPage && !anchors(text)[anchor] {
				t.Errorf("%s: %s: there is no such heading", name, m[1])
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links were found", checked)
	}
}

// TestSiteMap: whoever begins at docs/README.md gets to every page.
func TestSiteMap(t *testing.T) {
	all := pages(t)
	reached := map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		if page, ok := all[name]; ok && !reached[name] {
			reached[name] = true
			for _, m := range linkTo.FindAllStringSubmatch(page, -1) {
				target, _, _ := strings.Cut(m[1], "#")
				walk(filepath.ToSlash(filepath.Join(filepath.Dir(name), target)))
			}
		}
	}
	walk("docs/README.md")
	for name := range all {
		records := strings.HasPrefix(name, "docs/adr/") // the map leads to their directory
		if strings.HasPrefix(name, "docs/") && !records && !reached[name] {
			t.Errorf("no way of links leads from docs/README.md to %s", name)
		}
	}
}
