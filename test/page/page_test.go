// Package page looks at the status page as a person does: in a real browser, while the
// broker, a PLC and the gateway itself die and return. It needs Debian's chromium, which
// `make page-test` installs; EDGE_PAGE_PICTURES names a directory for pictures.
package page

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

const secret = "not-for-anybodys-eyes"

// start starts a gateway with two PLCs, of which the second has 100 of 10,000 tags.
func start(t *testing.T, broker string, plcs ...string) *peer.Gateway {
	t.Helper()
	tables := peer.Tables(plcs[0], 9900, "100ms")
	far := peer.Tables(plcs[1], 100, "500ms")
	for name, text := range far {
		text = strings.NewReplacer("plc", "far-plc", "line", "far").Replace(text)
		tables[name] += text
	}
	return peer.NewGateway(t, fmt.Sprintf("connectors: {mqtt: {kind: mqtt5, endpoint: %q, username: u, password: %s, max_interval: 100ms, backoff: {base: 100ms, max: 1s}}}\n",
		broker, secret), maps.Clone(tables))
}

// wide is true where something is wider than the window.
const wide = `(() => {
  if (document.documentElement.scrollWidth > innerWidth) return ['the page: ' + document.documentElement.scrollWidth];
  return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
    .map((e) => e.tagName + ' ' + e.id + ' ' + e.className + ': ' + e.getBoundingClientRect().right);
})()`

func TestPageInABrowser(t *testing.T) {
	if os.Getenv("EDGE_PAGE") == "" {
		t.Skip("run by make page-test")
	}
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatal("chromium is missing: make page-test installs it")
	}
	axe, err := os.ReadFile("axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("%v: make page-test installs it", err)
	}
	plc, far, broker := peer.StartPLC(t, ""), peer.StartPLC(t, ""), peer.StartMosquitto(t)
	g := start(t, broker.URL(), plc.Addr, far.Addr)
	g.Start(t)
	g.WaitReady(t)
	b := startBrowser(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console says: %v", b.console())
		}
	})
	quiet := func(when string) {
		t.Helper()
		if told := b.console(); len(told) > 0 {
			t.Errorf("%s, the console says: %s", when, strings.Join(told, "\n"))
		}
	}
	b.screen(t, 1440, 900, "light")
	b.call(t, "Page.navigate", map[string]any{"url": "http://" + g.Metrics + "/"}, nil)
	until(t, b, "the page to show what there is", `document.querySelector('#state')?.textContent === 'running' && document.querySelectorAll('.row.tag').length > 5`)
	t.Logf("first paint after %.0f ms", eval[float64](t, b, `performance.getEntriesByName('first-contentful-paint')[0].startTime`))
	if n := eval[string](t, b, `document.querySelector('#n-tags').textContent`); n != "10,000" {
		t.Errorf("%s tags are shown", n)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{360, 768, 1440} {
			b.screen(t, width, 900, scheme)
			until(t, b, "what is read in a second", `/\d/.test(document.querySelector('.cards dd span').textContent)`)
			if list := eval[[]string](t, b, wide); len(list) > 0 {
				t.Errorf("at %d px these are too wide: %v", width, list)
			}
			accessible(t, b, string(axe), fmt.Sprintf("%s, %d px", scheme, width))
			b.picture(t, fmt.Sprintf("%s-%d", scheme, width))
		}
	}
	quiet("while all is well")
	hands(t, b, string(axe))
	quiet("under a person's hands")

	far.Stop()
	broker.Stop(t)
	until(t, b, "the page to tell of the PLC and of the broker", `/far/.test(document.querySelector('#problem-list').textContent) && /mqtt/.test(document.querySelector('#problem-list').textContent)`)
	for _, width := range []int{360, 1440} {
		b.screen(t, width, 900, "light")
		if list := eval[[]string](t, b, wide); len(list) > 0 {
			t.Errorf("with problems, at %d px these are too wide: %v", width, list)
		}
		accessible(t, b, string(axe), fmt.Sprintf("problems, %d px", width))
		b.picture(t, fmt.Sprintf("problems-%d", width))
	}
	broker.Start(t)
	peer.StartPLC(t, far.Addr)
	until(t, b, "the page to say that they are back", `!/far|mqtt/.test(document.querySelector('#problem-list').textContent)`)
	quiet("while the broker and a PLC were away")

	g.Kill(t)
	until(t, b, "the page to say that the gateway is away", `/not connected/.test(document.querySelector('#link').textContent)`)
	b.picture(t, "gateway-away")
	g.Start(t)
	until(t, b, "the page to find the gateway again", `document.querySelector('#link').textContent === 'live'`)
	until(t, b, "its tags", `document.querySelectorAll('.row.tag').length === 2`)
	if text := eval[string](t, b, `document.documentElement.textContent + JSON.stringify(state)`); strings.Contains(text, secret) {
		t.Error("the page holds a secret")
	}
	cost(t, b, g)
}

// accessible runs axe-core's rules over the page. Nothing that it calls serious or worse
// may be found.
func accessible(t *testing.T, b *browser, axe, when string) {
	t.Helper()
	if !eval[bool](t, b, `typeof axe === 'object'`) {
		eval[bool](t, b, axe+"\n; true")
	}
	found := eval[[]string](t, b, `axe.run(document).then((r) => r.passes.length < 15 ? ['critical: only ' + r.passes.length + ' rules were tried'] :
  r.violations.flatMap((v) => v.nodes.map((n) => v.impact + ' ' + v.id + ': ' + n.target.join(' ') + ': ' + n.failureSummary)))`)
	for _, text := range found {
		if strings.HasPrefix(text, "serious") || strings.HasPrefix(text, "critical") {
			t.Errorf("%s: %s", when, text)
		} else {
			t.Logf("%s: %s", when, text)
		}
	}
}

// hands looks for a tag, walks through the list and opens one, with the keyboard alone.
func hands(t *testing.T, b *browser, axe string) {
	t.Helper()
	b.key(t, "6")
	if at := eval[string](t, b, `document.activeElement.id`); at != "tags" {
		t.Errorf("6 leads to %q", at)
	}
	eval[bool](t, b, `document.querySelector('#tag-list').focus() || true`)
	b.key(t, "End")
	until(t, b, "the last tag", `[...document.querySelectorAll('.row.tag')].some((r) => r.dataset.at === '9999' && r.getAttribute('aria-selected') === 'true')`)
	b.key(t, "/")
	b.call(t, "Input.insertText", map[string]any{"text": "R0042"}, nil)
	until(t, b, "the tag that is looked for", `document.querySelector('#n-tags').textContent === '2'`)
	eval[bool](t, b, `document.querySelector('#tag-list').focus() || true`)
	b.key(t, "ArrowDown")
	b.key(t, "ArrowDown")
	b.key(t, "Enter")
	until(t, b, "the tag to open", `document.querySelector('#tag-dialog').open`)
	until(t, b, "its last hour", `!document.querySelector('#hour').hasAttribute('hidden')`)
	accessible(t, b, axe, "a tag is open")
	b.picture(t, "tag")
	b.key(t, "Escape")
	until(t, b, "the tag to close", `!document.querySelector('#tag-dialog').open`)
}

// cost measures what an open page costs the gateway, in a processor's time and in memory,
// and how long it takes to appear.
func cost(t *testing.T, b *browser, g *peer.Gateway) {
	t.Helper()
	g.WaitReady(t)
	const span = 10 * time.Second
	cpu := func() float64 {
		before := g.Proc().CPU(t)
		time.Sleep(span) // it is measured over this time
		return (g.Proc().CPU(t) - before).Seconds() / span.Seconds() * 100
	}
	memory := func() float64 {
		rss, _ := g.Proc().Memory(t)
		return rss
	}
	visit := func(url string) {
		b.call(t, "Page.navigate", map[string]any{"url": url}, nil)
	}
	visit("about:blank")
	without, rss := cpu(), memory()
	var paints []float64
	for range 7 {
		visit("about:blank")
		visit("http://" + g.Metrics + "/")
		until(t, b, "the page with its tags", `performance.getEntriesByName('first-contentful-paint').length && document.querySelectorAll('.row.tag').length > 5`)
		paints = append(paints, eval[float64](t, b, `performance.getEntriesByName('first-contentful-paint')[0].startTime`))
	}
	slices.Sort(paints)
	t.Logf("first paint after %.0f ms in the median of %d visits, %.0f at most", paints[len(paints)/2], len(paints), paints[len(paints)-1])
	with := cpu()
	t.Logf("the gateway takes %.1f %% of a processor with an open page, %.1f %% without; RSS %.1f MiB with, %.1f before the first visit", with, without, memory(), rss)
	visit("about:blank")
	t.Logf("after it was closed: %.1f %%, %.1f MiB", cpu(), memory())
}
