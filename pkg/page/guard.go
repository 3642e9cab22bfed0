package page

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Keys are what lets somebody look who is not on this machine. Secrets may be
// references, which Resolve follows at each use.
type Keys struct {
	Token   string            // "": there is none
	Users   map[string]string // bcrypt hashes by name
	Resolve func(string) (string, error)
}

const (
	leastToken = 16 // characters
	mostCost   = 14 // of a hash: a second of a processor's time, more on a small one
)

// Check says which of the keys can't be used. A secret that can't be read yet is none
// of them.
func (k Keys) Check() error {
	var errs []error
	if token, err := k.Resolve(k.Token); err == nil && k.Token != "" {
		errs = append(errs, checkToken(token))
	}
	for _, name := range slices.Sorted(maps.Keys(k.Users)) {
		if name == "" || strings.Contains(name, ":") {
			errs = append(errs, fmt.Errorf("page.users: %q: expected a name without a colon, which ends it in a browser's answer", name))
		}
		if hash, err := k.Resolve(k.Users[name]); err == nil {
			errs = append(errs, checkHash(name, hash))
		}
	}
	return errors.Join(errs...)
}

func checkToken(token string) error {
	if n := len([]rune(token)); n < leastToken {
		return fmt.Errorf("page.token: it has %d characters, expected at least %d: openssl rand -hex 16 makes one", n, leastToken)
	}
	return nil
}

func checkHash(name, hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil:
		return fmt.Errorf("page.users: the hash of %s is none of bcrypt: htpasswd -nB %s makes one", name, name)
	case cost > mostCost:
		return fmt.Errorf("page.users: the hash of %s has the cost %d, expected at most %d: each login would take seconds of this machine's time", name, cost, mostCost)
	}
	return nil
}

// The bounds of those who are not known yet.
const (
	waiting    = 16                     // that wait for their password to be looked at
	ofOne      = 3                      // of them, from one host
	penalty    = 500 * time.Millisecond // a wrong one takes so long, and no other is looked at meanwhile
	remembered = 64                     // that were right
	sayAgain   = time.Minute            // wrong ones are told so often in the log
)

// guard passes on who has a key. One password is looked at at a time, and a wrong one
// takes its time, so that neither guessing nor its cost has a rate that is worth it. Who
// was right is remembered, as long as the key stays the same.
type guard struct {
	keys Keys
	next http.Handler
	log  *slog.Logger
	salt []byte        // of what is remembered
	turn chan struct{} // the token of whose password is looked at

	mu     sync.Mutex
	known  map[[sha256.Size]byte]struct{}
	queued map[string]int // hosts of those that wait
	wrong  int            // not told yet
	told   time.Time
}

// Guarded passes on to next who has one of the keys.
func Guarded(next http.Handler, keys Keys, log *slog.Logger) http.Handler {
	salt := make([]byte, sha256.Size)
	_, _ = rand.Read(salt) // it never fails
	return &guard{
		keys: keys, next: next, log: log, salt: salt, turn: make(chan struct{}, 1),
		known: map[[sha256.Size]byte]struct{}{}, queued: map[string]int{},
	}
}

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, ok := credentials(r)
	if !ok {
		unauthorized(w)
		return
	}
	if g.remembers(user, password) {
		g.next.ServeHTTP(w, r)
		return
	}
	host := hostOf(r.RemoteAddr)
	if !g.queue(host) {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "too many say who they are at once; try again")
		return
	}
	right := g.look(r.Context(), host, user, password)
	g.leave(host)
	if !right {
		unauthorized(w)
		return
	}
	g.next.ServeHTTP(w, r)
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="edge-gateway", charset="UTF-8"`)
	refuse(w, http.StatusUnauthorized, "Say who you are: a user of page.users in gateway.yml, or page.token as the password.")
}

// credentials returns what a request says of who sends it.
func credentials(r *http.Request) (user, password string, ok bool) {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return "", strings.TrimSpace(token), true
	}
	return r.BasicAuth()
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// queue takes a place among those that wait, if there is one.
func (g *guard) queue(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := 0
	for _, n := range g.queued {
		all += n
	}
	if all >= waiting || g.queued[host] >= ofOne {
		return false
	}
	g.queued[host]++
	return true
}

func (g *guard) leave(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queued[host]--; g.queued[host] == 0 {
		delete(g.queued, host)
	}
}

// look waits for its turn and looks whether a password is right. One that is wrong keeps
// its turn for a while, whether its client waits or not.
func (g *guard) look(ctx context.Context, host, user, password string) bool {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-g.turn }()
	if g.remembers(user, password) {
		return true
	}
	right, err := g.right(user, password)
	if !right {
		g.tell(host, err)
		time.Sleep(penalty)
	}
	return right
}

// right compares with the keys; the error says which key can't be used. The token costs
// nothing to compare, so that every password is compared with it first. A name that
// nobody has takes as long as one that somebody has.
func (g *guard) right(user, password string) (bool, error) {
	secret, errToken := g.token()
	if errToken == nil && same(secret, password) {
		g.remember("", secret, password)
		return true, nil
	}
	hash, errHash := g.hash(user)
	known := errHash == nil
	if errors.Is(errHash, errNone) && len(g.keys.Users) > 0 {
		hash, errHash = g.hash(slices.Min(slices.Collect(maps.Keys(g.keys.Users))))
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	if err != nil || !known {
		return false, errors.Join(unless(errNone, errToken), unless(errNone, errHash))
	}
	g.remember(user, hash, password)
	return true, nil
}

// errNone is the error of a key that there isn't.
var errNone = errors.New("there is no such key")

// unless returns err if it isn't what.
func unless(what, err error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// same compares two texts in a time that tells nothing of them.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// token returns the token as it is now.
func (g *guard) token() (string, error) {
	if g.keys.Token == "" {
		return "", errNone
	}
	token, err := g.keys.Resolve(g.keys.Token)
	if err == nil {
		err = checkToken(token)
	}
	return token, err
}

// hash returns the hash of a user as it is now.
func (g *guard) hash(user string) (string, error) {
	ref, ok := g.keys.Users[user]
	if !ok {
		return "", errNone
	}
	hash, err := g.keys.Resolve(ref)
	if err == nil {
		err = checkHash(user, hash)
	}
	return hash, err
}

// remembers reports whether a password was right before, for the key of now.
func (g *guard) remembers(user, password string) bool {
	token, errToken := g.token()
	hash, errHash := g.hash(user)
	g.mu.Lock()
	defer g.mu.Unlock()
	_, byToken := g.known[g.digest("", token, password)]
	_, byUser := g.known[g.digest(user, hash, password)]
	return errToken == nil && byToken || errHash == nil && byUser
}

func (g *guard) remember(user, secret, password string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= remembered {
		clear(g.known)
	}
	g.known[g.digest(user, secret, password)] = struct{}{}
}

// digest stands for a password that was right for a key; neither can be told from it.
func (g *guard) digest(parts ...string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, g.salt)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// tell logs wrong passwords, from time to time, and why a key can't be used; nothing of
// what was said, since a name may be a password in the wrong place.
func (g *guard) tell(host string, problem error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong++
	now := time.Now()
	if now.Sub(g.told) < sayAgain {
		return
	}
	if problem != nil {
		g.log.Warn("status page: a key can't be used", "error", problem)
	}
	g.log.Warn("status page: wrong password", "from", host, "wrong", g.wrong)
	g.wrong, g.told = 0, now
}
