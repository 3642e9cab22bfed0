package clienttls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/youmark/pkcs8"
)

// TestPlainKey opens keys in each form in which they are stored.
func TestPlainKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	must := func(der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	sec1 := must(x509.MarshalECPrivateKey(key))
	old, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", sec1, []byte("secret"), x509.PEMCipherAES256) //nolint:staticcheck // as old tools wrote it
	if err != nil {
		t.Fatal(err)
	}
	encrypted := block("ENCRYPTED PRIVATE KEY", must(pkcs8.MarshalPrivateKey(key, []byte("secret"), nil)))
	cases := []struct{ name, text, password, fault string }{
		{name: "PKCS#8", text: block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))},
		{name: "SEC 1", text: block("EC PRIVATE KEY", sec1)},
		{name: "with parameters", text: block("EC PARAMETERS", []byte{1}) + block("EC PRIVATE KEY", sec1)},
		{name: "encrypted PKCS#8", text: encrypted, password: "secret"},
		{name: "encrypted the old way", text: string(pem.EncodeToMemory(old)), password: "secret"},
		{name: "no password", text: encrypted, fault: "there is no password"},
		{name: "no password, old", text: string(pem.EncodeToMemory(old)), fault: "there is no password"},
		{name: "wrong password", text: encrypted, password: "x", fault: "does not open it"},
		{name: "wrong password, old", text: string(pem.EncodeToMemory(old)), password: "x", fault: "does not open it"},
		{name: "no PEM", text: "-----BEGIN nothing", fault: "no PEM block"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := Files{Password: func() (string, error) { return c.password, nil }}
			got, err := f.plainKey([]byte(c.text))
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || !errors.Is(err, ErrKey) {
					t.Errorf("error %v, want one with %q", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var parsed any
			for b, rest := pem.Decode(got); b != nil; b, rest = pem.Decode(rest) {
				switch b.Type {
				case "PRIVATE KEY":
					parsed, err = x509.ParsePKCS8PrivateKey(b.Bytes)
				case "EC PRIVATE KEY":
					parsed, err = x509.ParseECPrivateKey(b.Bytes)
				}
			}
			if err != nil || !key.Equal(parsed.(*ecdsa.PrivateKey)) {
				t.Errorf("another key: %v", err)
			}
		})
	}
}
