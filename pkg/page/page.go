// Package page is the status page: what a person sees who opens the gateway's address
// in a browser. It only shows. Doing stays with the commands, which the page names.
//
// A [Page] answers HTTP requests: the files of the page (/, /page/…), a stream of events
// with every part of the gateway (/page/events), a part of the tags (/page/tags), and
// what the log has of one tag (/page/tag). What it shows is the admin API's
// (admin.Look), rendered as -o json renders it: the page has no model of its own.
//
// It costs nothing while nobody looks: everything is asked for when a request wants it,
// and all streams share one answer. Streams and requests at once are bounded, and so is
// the time that a look into the log takes.
//
// The browser gets no script, style or picture from anywhere else, and runs none that
// stands in the page (Content-Security-Policy). All text is shown as text.
package page

import (
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

//go:embed static
var static embed.FS

// The bounds of what is answered at once.
const (
	maxStreams  = 8
	maxRequests = 8   // that are no streams
	maxWindow   = 200 // tags of one answer
	maxText     = 128 // bytes of what is looked for
)

// Page is the status page. It is an [http.Handler] for GET and HEAD requests.
type Page struct {
	look     *admin.Look
	log      *slog.Logger
	mux      *http.ServeMux
	overview overview
	streams  chan struct{} // a token for each stream
	requests chan struct{} // a token for each request that is no stream
	reading  chan struct{} // the token of whoever reads the log
}

// New returns the page of what look shows.
func New(look *admin.Look, log *slog.Logger) *Page {
	p := &Page{
		look: look, log: log, mux: http.NewServeMux(), overview: overview{look: look},
		streams: make(chan struct{}, maxStreams), requests: make(chan struct{}, maxRequests), reading: make(chan struct{}, 1),
	}
	p.mux.HandleFunc("GET /{$}", p.file)
	p.mux.HandleFunc("GET /page/{file}", p.file)
	p.mux.HandleFunc("GET /page/events", p.events)
	p.mux.HandleFunc("GET /page/tags", bounded(p.requests, p.tags))
	p.mux.HandleFunc("GET /page/tag", bounded(p.requests, p.tag))
	return p
}

// policy lets the page load its own files and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// Another site can't read an answer, but could keep streams open.
	if site := r.Header.Get("Sec-Fetch-Site"); r.URL.Path != "/" && site != "" && site != "same-origin" && site != "none" {
		refuse(w, http.StatusForbidden, "the request comes from another site")
		return
	}
	p.mux.ServeHTTP(w, r)
}

// types are the content types of the files, which the machine's own list must not change.
var types = map[string]string{"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

// file answers with a file of the page.
func (p *Page) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	text, err := fs.ReadFile(static, "static/"+name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	_, kind, _ := strings.Cut(name, ".")
	w.Header().Set("Content-Type", types[kind]+"; charset=utf-8")
	p.write(w, text)
}

func (p *Page) write(w http.ResponseWriter, text []byte) {
	if _, err := w.Write(text); err != nil {
		p.log.Debug("status page: answer not written", "error", err)
	}
}

// bounded answers 503 when too many requests hold a token.
func bounded(tokens chan struct{}, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case tokens <- struct{}{}:
			defer func() { <-tokens }()
			next(w, r)
		default:
			w.Header().Set("Retry-After", "5")
			refuse(w, http.StatusServiceUnavailable, "too many look at once; it is tried again")
		}
	}
}

// refuse answers with a reason.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) //nolint:gosec // plain text is no markup; a client that is gone needs no answer
}

// answer renders body, whose messages render themselves as -o json does.
func (p *Page) answer(w http.ResponseWriter, body any, err error) {
	switch {
	case errors.Is(err, errkind.NotFound):
		refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, errkind.Invalid):
		refuse(w, http.StatusBadRequest, err.Error())
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		text, err := json.Marshal(body)
		if err != nil {
			p.log.Warn("status page", "error", err)
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		p.write(w, text)
	}
}

// tagsAnswer is a part of the tags.
type tagsAnswer struct {
	Now   time.Time `json:"now"`
	Total int       `json:"total"` // that match
	From  int       `json:"from"`
	Tags  []*pb.Tag `json:"tags"`
}

func (p *Page) tags(w http.ResponseWriter, r *http.Request) {
	win, ok := window(r.URL.Query())
	if !ok {
		refuse(w, http.StatusBadRequest, "expected text, quality (good, uncertain, bad), from and n")
		return
	}
	tags, total, err := p.look.Tags(r.Context(), win)
	p.answer(w, tagsAnswer{time.Now(), total, win.From, tags}, err)
}

// window reads which tags are wanted.
func window(q url.Values) (w admin.Window, ok bool) {
	w.Text = q.Get("text")
	if len(w.Text) > maxText || !utf8.ValidString(w.Text) {
		return w, false
	}
	if name := q.Get("quality"); name != "" {
		value, known := pb.Quality_value["QUALITY_"+strings.ToUpper(name)]
		if w.Quality = pb.Quality(value); !known || w.Quality == pb.Quality_QUALITY_UNSPECIFIED {
			return w, false
		}
	}
	from, err := count(q, "from")
	n, errN := count(q, "n")
	w.From, w.N = from, min(n, maxWindow)
	return w, err == nil && errN == nil
}

// count reads a number of things; none is 0.
func count(q url.Values, key string) (int, error) {
	text := q.Get(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
