package endpoint

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// isReference reports whether text is ${file:NAME} or ${env:EDGE_SECRET_NAME}.
func isReference(text string) bool {
	return strings.HasPrefix(text, "${") && checkSecret(text) == nil
}

// checkSecret refuses what looks like a reference but isn't one. The error
// doesn't hold text.
func checkSecret(text string) error {
	if !strings.Contains(text, "${") {
		return nil
	}
	inner, ok := strings.CutPrefix(text, "${")
	if inner, ok2 := strings.CutSuffix(inner, "}"); ok && ok2 && !strings.ContainsAny(inner, "{}$") {
		if name, ok := strings.CutPrefix(inner, "file:"); ok && name != "" && !strings.ContainsAny(name, `/\`) && name != "." && name != ".." {
			return nil
		}
		if name, ok := strings.CutPrefix(inner, "env:EDGE_SECRET_"); ok && name != "" {
			return nil
		}
	}
	return errors.New("is not a reference to a secret: write ${file:NAME} or ${env:EDGE_SECRET_NAME}")
}

// checkName refuses a reference in a user name: names go over the network in the
// open, to whoever is at the other end. The error doesn't hold text.
func checkName(text string) error {
	if strings.Contains(text, "${") {
		return errors.New("takes no reference to a secret: a user name is sent in the open; password does")
	}
	return nil
}

func resolve(name, text, address string, secret func(reference, address string) (string, error)) (string, error) {
	if !isReference(text) {
		return text, nil
	}
	if secret == nil {
		return "", fmt.Errorf("opts.%s: %w: references aren't resolved here", name, ErrSecret)
	}
	value, err := secret(text, address)
	if err != nil {
		// The resolver names the reference, never the secret.
		return "", fmt.Errorf("opts.%s: %w: %w", name, ErrSecret, err)
	}
	return value, nil
}

// Reference returns the reference to a secret that a dial resolves, "" for none.
func (u *URL) Reference() string {
	if u.schemes.has(DTLS) && isReference(u.password) {
		return u.password
	}
	return ""
}

// fingerprint tells identities apart without holding them: a keyed hash of user
// name and password as they are written.
func (u *URL) fingerprint(key []byte) (f [16]byte) {
	if !u.HasCredentials() {
		return f
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%d:%s%s", len(u.username), u.username, u.password) // a hash's Write never fails
	copy(f[:], mac.Sum(nil))
	return f
}
