// Package address holds addresses that a person wrote with a user name and a password in
// them: a proxy's, a broker's. A [URL] can be printed in every way that there is, in
// errors, logs, JSON and by %#v, and shows neither. Only [URL.Reveal] returns them, for
// dialling.
//
// Devices' addresses are package endpoint's, which keeps the same promise.
package address

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// URL is an address whose user name and password can't be printed. The zero URL is none.
type URL struct {
	// A pointer to one, so that no kind of printing follows it, even where the URL is a
	// field of something that is printed.
	held **url.URL
}

// Parse reads an address. The error has nothing of it but what [Mask] leaves.
func Parse(text string) (URL, error) {
	u, err := url.Parse(text)
	if cause := (*url.Error)(nil); errors.As(err, &cause) {
		err = cause.Err // without the address, which its own text has; its cause may quote a part
		if escape := url.EscapeError(""); errors.As(err, &escape) || strings.Contains(text, "@") {
			err = errors.New("it is no URL")
		}
	}
	if err == nil && u.Opaque != "" { // what it holds can't be told
		err = errors.New("expected SCHEME://HOST")
	}
	if err != nil {
		return URL{}, fmt.Errorf("%q: %w", Mask(text), err)
	}
	return URL{held: &u}, nil
}

// Mask takes what may be a user's name and password out of a text, so that it can be
// shown: what stands before an @.
func Mask(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	from := 0
	if i := strings.Index(text[:at], "://"); i >= 0 {
		from = i + len("://")
	}
	return text[:from] + "…" + text[at:]
}

// None reports whether u is the zero URL.
func (u URL) None() bool { return u.held == nil }

// Reveal returns a copy with user name and password, to connect with. It must not be printed.
func (u URL) Reveal() *url.URL {
	if u.held == nil {
		return &url.URL{}
	}
	out := **u.held
	return &out
}

// Scheme is that of the address.
func (u URL) Scheme() string { return u.Reveal().Scheme }

// Host is HOST:PORT as written.
func (u URL) Host() string { return u.Reveal().Host }

// Hostname is the host alone, without brackets.
func (u URL) Hostname() string { return u.Reveal().Hostname() }

// Port is the port alone, "" for none.
func (u URL) Port() string { return u.Reveal().Port() }

// HasUser reports whether there is a user name or a password.
func (u URL) HasUser() bool { return u.Reveal().User != nil }

// String shows the address without user name and password.
func (u URL) String() string {
	shown := u.Reveal()
	if shown.User == nil {
		return shown.String()
	}
	shown.User = nil
	before, after, _ := strings.Cut(shown.String(), "://")
	return before + "://…@" + after
}

// Format shows the same for every verb, %#v too.
func (u URL) Format(f fmt.State, verb rune) {
	text := u.String()
	if verb == 'q' {
		text = fmt.Sprintf("%q", text)
	}
	_, _ = io.WriteString(f, text) // fmt's own buffer never fails
}

// MarshalText shows the same, in JSON, YAML and log/slog.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
