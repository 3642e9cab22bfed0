package clienttls

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"
)

// Errors about the key; a person must act.
var (
	ErrKey       = errors.New("client key")
	ErrEncrypted = errors.New("it is encrypted, and there is no password; give it, or store the key without one (openssl pkey -in KEY -out PLAIN)")
)

// plainKey returns the client's key without encryption: as it is, or opened with the
// password. PKCS#8 is what openssl writes today; the older form has the encryption in
// the PEM headers.
func (f Files) plainKey(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, fmt.Errorf("%w: it holds no PEM block", ErrKey)
	}
	old := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // weak, but better than a key that is not encrypted at all
	if block.Type != "ENCRYPTED PRIVATE KEY" && !old {
		return text, nil
	}
	password := ""
	if f.Password != nil {
		var err error
		if password, err = f.Password(); err != nil {
			return nil, err
		}
	}
	if password == "" {
		return nil, fmt.Errorf("%w: %w", ErrKey, ErrEncrypted)
	}
	if old {
		der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as above
		if err != nil {
			return nil, fmt.Errorf("%w: the password does not open it: %w", ErrKey, err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(password))
	if err != nil {
		return nil, fmt.Errorf("%w: the password does not open it: %w", ErrKey, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
