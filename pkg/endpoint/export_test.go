package endpoint

import (
	"strings"
	"testing"
)

// Certificates makes an authority and a certificate for 127.0.0.1, and returns
// their files, for the tests outside of the package.
func Certificates(t testing.TB) (ca, cert, key string) {
	a := newAuthority(t, "plant")
	p := a.issue("plc", tomorrow())
	return a.file, p.cert, p.key
}

// NullModem joins two pseudo-terminals, for the tests outside of the package.
func NullModem(t testing.TB) (a, b string) {
	a, b, _ = nullModem(t)
	return a, b
}

// Full is the URL with user name and password: Parse(u.Full()) == u. The product
// shows none of them.
func (u URL) Full() string {
	user := ""
	if u.HasCredentials() {
		user = strings.ReplaceAll(escape(u.username), ":", "%3A")
		if u.password != "" {
			user += ":" + escape(u.password)
		}
		user += "@"
	}
	return u.text(user)
}
