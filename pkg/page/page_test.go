package page

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// look returns what a backend shows.
func look(t *testing.T, b admin.Backend) *admin.Look {
	t.Helper()
	s, err := admin.NewServer(admin.Config{Socket: filepath.Join(t.TempDir(), "s")}, b, admin.Deps{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return s.Look()
}

// serve serves the page of a backend until the test ends.
func serve(t *testing.T, b admin.Backend) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(New(look(t, b), slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	return s
}

// reply is an answer whose body is read.
type reply struct {
	StatusCode int
	Status     string
	Header     http.Header
}

// get asks and returns the answer with its body.
func get(t *testing.T, target string, header ...string) (reply, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Status, resp.Header}, string(body)
}

// TestFiles: the page is whole, each of its files has its type, every answer forbids
// what is not its own, and nothing in it would have to be allowed.
func TestFiles(t *testing.T) {
	s := serve(t, admintest.New().Backend())
	_, index := get(t, s.URL+"/")
	files := map[string]string{"/": "text/html; charset=utf-8"}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(index, -1) {
		files["/"+m[1]] = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml; charset=utf-8"}[filepath.Ext(m[1])]
	}
	if len(files) != 4 {
		t.Errorf("the page has the files %v", files)
	}
	for path, kind := range files {
		resp, body := get(t, s.URL+path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %s, %s; want %s", path, resp.Status, resp.Header.Get("Content-Type"), kind)
		}
		if got := resp.Header.Get("Content-Security-Policy"); got != policy || strings.Contains(got, "unsafe") {
			t.Errorf("%s: policy %q", path, got)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, resp.Header)
		}
		if m := regexp.MustCompile(`(?i)https?://[^w]|innerHTML|document\.write|\son[a-z]+="|style="|<style|<script>`).FindString(body); m != "" {
			t.Errorf("%s has %q", path, m)
		}
	}
	for _, path := range []string{"/page/", "/page/..%2fpage.go", "/page/none.js", "/other"} {
		if resp, _ := get(t, s.URL+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	resp, err := http.Post(s.URL+"/page/tags", "text/plain", strings.NewReader("x"))
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", resp, err)
	}
	resp.Body.Close()
	for site, code := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200} {
		if resp, _ := get(t, s.URL+"/page/tags?n=1", "Sec-Fetch-Site", site); resp.StatusCode != code {
			t.Errorf("from %s: %s", site, resp.Status)
		}
	}
}

func TestTags(t *testing.T) {
	f := admintest.New()
	f.Refuse()
	s := serve(t, f.Backend())
	for query, want := range map[string]string{
		"n=2":                    "3 line.a line.b",
		"n=5&from=2":             "3 温度",
		"n=5&from=9":             "3",
		"":                       "3",
		"text=LINE.&n=9":         "2 line.a line.b",
		"text=%E6%B8%A9&n=9":     "1 温度",
		"quality=bad&n=9":        "1 line.b",
		"quality=bad&from=1&n=9": "1",
		"text=*&n=9":             "0",
		"n=-1":                   "400", "n=x": "400", "from=99999999999": "400", "quality=UNSPECIFIED": "400", "quality=odd": "400",
		"text=" + strings.Repeat("x", 200): "400", "text=%ff": "400",
	} {
		resp, body := get(t, s.URL+"/page/tags?"+query)
		if resp.StatusCode != http.StatusOK {
			if want != resp.Status[:3] {
				t.Errorf("%s: %s %s; want %s", query, resp.Status, body, want)
			}
			continue
		}
		var a struct {
			Total int
			Tags  []struct{ Tag string }
		}
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		got := string(rune('0' + a.Total))
		for _, tag := range a.Tags {
			got += " " + tag.Tag
		}
		if got != want {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
}

// TestTag: what the page shows of a tag is what the API shows, with what the log has.
func TestTag(t *testing.T) {
	s := serve(t, admintest.New().Backend())
	resp, body := get(t, s.URL+"/page/tag?name=line.a")
	var a struct {
		Whole  bool
		Tag    struct{ Tag, Unit string }
		Points []struct{ Max float64 }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || !a.Whole || a.Tag.Tag != "line.a" || a.Tag.Unit != "bar" || len(a.Points) == 0 {
		t.Errorf("%s %v: %.300s", resp.Status, err, body)
	}
	for _, name := range []string{"", "none", "line.*"} {
		if resp, _ := get(t, s.URL+"/page/tag?name="+url.QueryEscape(name)); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %s", name, resp.Status)
		}
	}
}

// slowLog answers what it is asked of the last five minutes and never of those before.
type slowLog struct{ admin.BusBackend }

func (slowLog) Replay(ctx context.Context, r admin.Range, send func(admin.ReplayPart) error) error {
	if time.Since(r.FromTime) > 6*time.Minute {
		<-ctx.Done()
		return ctx.Err()
	}
	return send(admin.ReplayPart{Batches: []*frame.Batch{frame.Single(frame.Data, "press", frame.Tag{Name: "line.a"},
		frame.Frame{Value: frame.IntValue(7), TS: r.FromTime.UnixNano(), Quality: frame.Good})}})
}

// TestSlowLog: a look into a log that is long ends, and says how far it came.
func TestSlowLog(t *testing.T) {
	b := admintest.New().Backend()
	b.Bus = slowLog{b.Bus}
	s := serve(t, b)
	_, body := get(t, s.URL+"/page/tag?name=line.a")
	var a struct {
		Whole     bool
		Now, From time.Time
		Points    []struct{ At int64 }
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.Whole || len(a.Points) != 4 || a.Now.Sub(a.From) != 5*time.Minute {
		t.Errorf("%v: %s", err, body)
	}
	if !slices.IsSortedFunc(a.Points, func(x, y struct{ At int64 }) int { return cmp.Compare(x.At, y.At) }) {
		t.Error("the points are not in order")
	}
}

func TestSeries(t *testing.T) {
	var s series
	for i, v := range []frame.Value{frame.IntValue(3), frame.FloatValue(1.5), frame.BoolValue(true), {}, frame.StringValue("<b>"), frame.FloatValue(9)} {
		s.add(&frame.Frame{Value: v, TS: int64(i), Quality: frame.Quality(i % 2)})
	}
	text, err := json.Marshal(s.points)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"at":0,"min":1,"max":3,"quality":"uncertain","none":false},{"at":0,"min":0,"max":0,"quality":"uncertain","none":true},` +
		`{"at":0,"min":9,"max":9,"quality":"uncertain","none":false}]`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if text, err = json.Marshal(s.texts); err != nil || string(text) != `[{"at":0,"value":"\u003cb\u003e","quality":"good"}]` {
		t.Errorf("%s, %v", text, err)
	}
	for i := range 10 * texts {
		s.add(&frame.Frame{Value: frame.StringValue("x"), TS: int64(i)})
	}
	if len(s.texts) > 2*texts {
		t.Errorf("%d texts are kept", len(s.texts))
	}
}

// events opens a stream and returns the code of the answer, its reader, and what ends it.
func events(t *testing.T, s *httptest.Server) (code int, r *bufio.Reader, end func() error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/page/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.StatusCode, bufio.NewReader(resp.Body), resp.Body.Close
}

// next returns the data of the next event of a kind.
func next(t *testing.T, r *bufio.Reader, kind string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if line == "event: "+kind+"\n" {
			return strings.TrimPrefix(data, "data: ")
		}
	}
}

// TestEvents: the first event has every part, the next only what has changed, and the
// steps of an apply come as they are made.
func TestEvents(t *testing.T) {
	f := admintest.New()
	s := serve(t, f.Backend())
	_, r, _ := events(t, s)
	first := next(t, r, "parts")
	for _, key := range []string{"status", "endpoints", "drivers", "connectors", "bus", "config", "applies"} {
		if !strings.Contains(first, `"`+key+`":`) {
			t.Errorf("there is no %s in %s", key, first)
		}
	}
	if second := next(t, r, "parts"); strings.Contains(second, `"drivers":`) {
		t.Errorf("what has not changed is told again: %s", second)
	}
	f.Refuse()
	for changed := ""; !strings.Contains(changed, "illegal data address"); changed = next(t, r, "parts") {
		if strings.Contains(changed, `"endpoints":`) {
			t.Errorf("what has not changed is told again: %s", changed)
		}
	}
	f.Event(&pb.WatchConfigResponse{Rev: 8, State: "DrainEP"})
	if step := next(t, r, "apply"); !strings.Contains(step, "DrainEP") {
		t.Error(step)
	}
}

// TestStreamsAreBounded: too many streams are refused, and one that ends makes room.
func TestStreamsAreBounded(t *testing.T) {
	s := serve(t, admintest.New().Backend())
	var open []func() error
	for range maxStreams {
		_, r, end := events(t, s)
		next(t, r, "parts")
		open = append(open, end)
	}
	if code, _, _ := events(t, s); code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", code)
	}
	if err := open[0](); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // until the server has seen it go
		if code, _, _ := events(t, s); code == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a stream that ended makes no room")
		}
	}
}

// TestShared: many streams cost one look a second.
func TestShared(t *testing.T) {
	asked := make(chan struct{}, 1000)
	b := admintest.New().Backend()
	b.Status = func(context.Context) (*pb.GetStatusResponse, error) {
		asked <- struct{}{}
		return nil, errors.New("the disk is on fire")
	}
	s := serve(t, b)
	began := time.Now()
	for range maxStreams {
		_, r, _ := events(t, s)
		if e := next(t, r, "parts"); !strings.Contains(e, "the disk is on fire") {
			t.Error(e)
		}
	}
	if n, most := len(asked), 1+int(time.Since(began)/(every*9/10)); n > most {
		t.Errorf("%d streams asked %d times, not %d", maxStreams, n, most)
	}
}

// TestLocal: only this machine, by its own name, and not through a proxy.
func TestLocal(t *testing.T) {
	h := Local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, x := range []struct {
		from, host, proxy string
		local             bool
	}{
		{"127.0.0.1:4000", "127.0.0.1:9100", "", true},
		{"127.0.0.1:4000", "localhost", "", true},
		{"127.0.0.1:4000", "LOCALHOST:9100", "", true},
		{"127.8.0.1:4000", "127.8.0.1:9100", "", true},
		{"[::1]:4000", "[::1]:9100", "", true},
		{"[::ffff:127.0.0.1]:4000", "[::1]", "", true},
		{"10.0.0.7:4000", "127.0.0.1:9100", "", false},
		{"[fe80::1%eth0]:4000", "localhost", "", false},
		{"127.0.0.1:4000", "evil.example:9100", "", false},
		{"127.0.0.1:4000", "localhost.evil.example", "", false},
		{"127.0.0.1:4000", "127.0.0.1.evil.example", "", false},
		{"127.0.0.1:4000", "10.0.0.5:9100", "", false},
		{"127.0.0.1:4000", "", "", false},
		{"127.0.0.1:4000", "localhost", "10.0.0.7", false},
		{"@", "localhost", "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Host = x.from, x.host
		if x.proxy != "" {
			r.Header.Set("X-Forwarded-For", x.proxy)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Code == http.StatusTeapot; got != x.local {
			t.Errorf("%+v: %d", x, w.Code)
		}
	}
}
