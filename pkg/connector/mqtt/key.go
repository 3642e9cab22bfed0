package mqtt

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"
)

// errKey says that the client's key cannot be used; a person must act.
var errKey = errors.New("tls.client_key")

// plainKey returns the client's key without encryption: as it is, or opened with
// tls.client_key_password. PKCS#8 is what openssl writes today; the older form has
// the encryption in the PEM headers.
func (d *dialer) plainKey(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, fmt.Errorf("%w: it holds no PEM block", errKey)
	}
	old := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // weak, but better than a key that is not encrypted at all
	if block.Type != "ENCRYPTED PRIVATE KEY" && !old {
		return text, nil
	}
	password, err := d.secret(d.tls.ClientKeyPassword)
	if err != nil {
		return nil, fmt.Errorf("tls.client_key_password: %w", err)
	}
	if password == "" {
		return nil, fmt.Errorf("%w is encrypted: set tls.client_key_password, or store it without a passphrase (openssl pkey -in KEY -out PLAIN)", errKey)
	}
	if old {
		der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as above
		if err != nil {
			return nil, fmt.Errorf("%w: tls.client_key_password does not open it: %w", errKey, err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(password))
	if err != nil {
		return nil, fmt.Errorf("%w: tls.client_key_password does not open it: %w", errKey, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
