package page

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"
)

const token = "a-token-of-enough-length"

func hashOf(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// vault resolves references, as the gateway's secrets do.
type vault map[string]string

func (v vault) resolve(text string) (string, error) {
	if !strings.HasPrefix(text, "${") {
		return text, nil
	}
	secret, ok := v[text]
	if !ok {
		return "", errors.New("there is no " + text)
	}
	return secret, nil
}

// knock asks a guarded page and returns the answer's code.
func knock(h http.Handler, from string, sign func(*http.Request)) int {
	r := httptest.NewRequest(http.MethodGet, "/page/tags", nil)
	r.RemoteAddr = from
	if sign != nil {
		sign(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		return 0 // a browser would not ask
	}
	return w.Code
}

func basic(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func header(value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", value) }
}

// TestGuard: who has a key of now comes in, nobody else, and neither the log nor an answer
// says anything of what was tried.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		v := vault{"${file:token}": token, "${file:bob}": hashOf(t, "bobs-password")}
		keys := Keys{Token: "${file:token}", Users: map[string]string{"ann": hashOf(t, "anns-password"), "bob": "${file:bob}"}, Resolve: v.resolve}
		if err := keys.Check(); err != nil {
			t.Fatal(err)
		}
		g := Guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), keys, slog.New(slog.NewTextHandler(&log, nil)))
		for _, x := range []struct {
			name string
			sign func(*http.Request)
			code int
		}{
			{"nothing", nil, 401},
			{"a user", basic("ann", "anns-password"), 200},
			{"a user again, from memory", basic("ann", "anns-password"), 200},
			{"a user whose hash is in a file", basic("bob", "bobs-password"), 200},
			{"another's password", basic("ann", "bobs-password"), 401},
			{"nobody", basic("mallory", "anns-password"), 401},
			{"no password", basic("ann", ""), 401},
			{"the hash for a password", basic("ann", keys.Users["ann"]), 401},
			{"the token with any name", basic("x", token), 200},
			{"the token as a bearer's", header("bearer " + token), 200},
			{"a part of the token", basic("x", token[:16]), 401},
			{"the reference for the token", header("Bearer ${file:token}"), 401},
			{"what can't be read", header("Basic ???"), 401},
			{"another scheme", header("Digest x"), 401},
		} {
			if code := knock(g, "192.0.2.1:4000", x.sign); code != x.code {
				t.Errorf("%s: %d, want %d", x.name, code, x.code)
			}
		}
		// What is remembered goes with the key.
		v["${file:token}"], v["${file:bob}"] = "another-token-of-enough-length", hashOf(t, "another")
		if a, b := knock(g, "192.0.2.1:4000", basic("", token)), knock(g, "192.0.2.1:4000", basic("bob", "bobs-password")); a != 401 || b != 401 {
			t.Errorf("with keys of before: %d, %d", a, b)
		}
		delete(v, "${file:token}")
		if code := knock(g, "192.0.2.1:4000", basic("", "")); code != 401 {
			t.Errorf("without a token that can be read, the empty one: %d", code)
		}
		v["${file:token}"] = "short"
		if code := knock(g, "192.0.2.1:4000", basic("", "short")); code != 401 {
			t.Errorf("with a token that is too short: %d", code)
		}
		for _, secret := range []string{token, token[:16], "-password", "$2a$", "mallory"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log says %q:\n%s", secret, log.String())
			}
		}
		if n := strings.Count(log.String(), "wrong password"); n != 1 {
			t.Errorf("the log tells of wrong passwords %d times in a few seconds:\n%s", n, log.String())
		}
	})
}

// TestGuessing: however many guess, one is looked at every half second, and who is known
// comes in all the same.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := Keys{Token: token, Resolve: vault{}.resolve}
		g := Guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), keys, slog.New(slog.DiscardHandler))
		if code := knock(g, "192.0.2.9:4000", basic("", token)); code != 200 {
			t.Fatalf("the token: %d", code)
		}
		var refused, wrong atomic.Int64
		var all sync.WaitGroup
		for i := range 200 {
			host := "192.0.2.1:4000" // one guesses much, and hundred others a little
			if i%2 == 1 {
				host = "[2001:db8::" + string(rune('a'+i%6)) + "]:4000"
			}
			all.Go(func() {
				switch knock(g, host, basic("", "guess-of-enough-length")) {
				case 401:
					wrong.Add(1)
				case 503:
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if code := knock(g, "192.0.2.9:4000", basic("", token)); code != 200 {
			t.Errorf("who is known, meanwhile: %d", code)
		}
		all.Wait()
		if wrong.Load() > waiting || wrong.Load()+refused.Load() != 200 {
			t.Errorf("%d wrong, %d refused", wrong.Load(), refused.Load())
		}
		if left := g.(*guard).queued; len(left) > 0 {
			t.Errorf("still waiting: %v", left)
		}
	})
}

func TestKeysCheck(t *testing.T) {
	dear, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	tooDear := strings.Replace(string(dear), "$04$", "$15$", 1)
	for text, keys := range map[string]Keys{
		"":                         {Token: token, Users: map[string]string{"ann": string(dear), "bob": "${file:gone}"}},
		"page.token: it has 5 ":    {Token: "short"},
		"hash of ann is none of":   {Users: map[string]string{"ann": "$2y$05$cut"}},
		"hash of ann has the cost": {Users: map[string]string{"ann": tooDear}},
		"a name without a colon":   {Users: map[string]string{"a:b": string(dear)}},
	} {
		keys.Resolve = vault{}.resolve
		err := keys.Check()
		if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
