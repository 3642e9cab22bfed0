package center

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Signed pushes
//
// A commit may carry a signature (ed25519) over the prefix, the sha256 of the document and
// an order. A gateway with signers runs a document only with a signature by one of them:
//
//   - of the store's prefix: what was signed for another site is not this one's;
//   - of the document's hash, which the document was checked against when it was read,
//     whether it came by a delta, in chunks, from the item keys or from the cache;
//   - with an order above that of every document it ran or tried, or the same order with the
//     same document. Orders grow with every signed push: they are the signer's clock in
//     milliseconds, and at least one more than the order of the commit that is replaced. So
//     an old signed document that somebody puts back is refused, and said to be old. The
//     highest order is kept on disk before the document is tried.
//
// Whoever can write to the store, and has no key, can withhold pushes and can put back what
// runs already. He can't make a gateway run anything that a signer has not meant for it
// since. The exceptions are told: a gateway that lost its data_dir has no order to hold others
// to; a person with the role maintain at the gateway may go back to any signed release; and
// a gateway puts back what it ran before (a document that failed here, an empty store) under
// the signature which that had.

// signer begins the text of a public key.
const signerPrefix = "ed25519:"

// Signer is a public key whose documents a gateway runs.
type Signer string

// ParseSigner reads a public key as [Key.Signer] writes it.
func ParseSigner(text string) (Signer, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, signerPrefix))
	if !strings.HasPrefix(text, signerPrefix) || err != nil || len(raw) != ed25519.PublicKeySize {
		return "", fmt.Errorf("%q is not a public key: expected %s and 44 characters, as edge-cfg key show prints it", text, signerPrefix)
	}
	return Signer(text), nil
}

// Signature says that a signer means a document for the gateways of a prefix.
type Signature struct {
	Signer Signer `json:"signer"`
	Order  uint64 `json:"order"`
	Text   string `json:"sig"` // base64
}

// signedText is what is signed. The first line keeps the key's other signatures apart.
func signedText(prefix, sha string, order uint64) []byte {
	return []byte("edge-gateway signed push 1\n" + strconv.Quote(prefix) + "\n" + sha + "\n" + strconv.FormatUint(order, 10) + "\n")
}

// verify says why the signature does not stand for a document.
func (s *Signature) verify(signers []Signer, prefix, sha string) error {
	switch {
	case s == nil:
		return errors.New("it is not signed, and policy.signers is set: push it with --sign KEYFILE")
	case !slices.Contains(signers, s.Signer):
		return fmt.Errorf("it is signed by %.80q, which is not one of policy.signers", s.Signer)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s.Signer), signerPrefix))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("policy.signers: %q is not a public key", s.Signer)
	}
	text, err := base64.StdEncoding.DecodeString(s.Text)
	if err != nil || !ed25519.Verify(key, signedText(prefix, sha, s.Order), text) {
		return fmt.Errorf("its signature does not fit this document and %s: the document was changed, or signed for other gateways", prefix)
	}
	return nil
}

// Key signs documents.
type Key struct{ private ed25519.PrivateKey }

// NewKey makes a key and writes it to a new file that only its owner may read, in PKCS #8.
func NewKey(path string) (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists; a key is never overwritten", path)
	}
	if err := durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	return &Key{private}, nil
}

// ReadKey reads a key's file. It refuses one that others can read.
func ReadKey(path string) (*Key, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("signing key %s has mode %04o: others can read it, and sign with it: chmod 0600", path, fi.Mode().Perm())
	}
	text, err := regular.ReadFile(path, 64<<10)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("signing key %s holds no PEM block; edge-cfg key new makes one", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("signing key %s is not an ed25519 key in PKCS #8; edge-cfg key new makes one", path)
	}
	return &Key{private}, nil
}

// Signer returns the public part.
func (k *Key) Signer() Signer {
	public, ok := k.private.Public().(ed25519.PublicKey)
	if !ok {
		panic("center: an ed25519 key has an ed25519 public key")
	}
	return Signer(signerPrefix + base64.StdEncoding.EncodeToString(public))
}

// sign signs a document for a prefix.
func (k *Key) sign(prefix, sha string, order uint64) *Signature {
	return &Signature{Signer: k.Signer(), Order: order, Text: base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, signedText(prefix, sha, order)))}
}

// signature is what a push's commit carries.
func (s *Store) signature(base Commit, sha string, opts PushOptions) *Signature {
	if opts.Sign == nil {
		return opts.Carry
	}
	order := uint64(max(0, s.cfg.Now().UnixMilli()))
	if base.Signature != nil {
		order = max(order, base.Signature.Order+1)
	}
	return opts.Sign.sign(s.keys.prefix, sha, max(order, opts.Order))
}

// floor is the newest signed document that a gateway ran or tried. It is in a file of its
// own: the cache is given up where what is in it kills the gateway.
type floor struct {
	Order  uint64 `json:"order"`
	SHA256 string `json:"sha256"`
}

// SignedFile is the file, beside the cache, that holds what the newest signed document was.
func SignedFile(cache string) string { return cache + ".signed" }

func (f *Follower) readFloor() error {
	text, err := regular.ReadFile(SignedFile(f.cfg.CacheFile), 4<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &f.floor)
	}
	if err != nil {
		return fmt.Errorf("the order of signed documents: %w", err)
	}
	return nil
}

// errSignature marks a refusal of a commit for its signature: its document may be good.
var errSignature = errors.New("it is not a signer's")

type signatureError struct{ error }

func (signatureError) Is(target error) bool { return target == errSignature }

// admit says why a document is not to be run here: the signers' rules above. newest holds it
// to the order of those before.
func (f *Follower) admit(c Commit, newest bool) error {
	if len(f.cfg.Signers) == 0 {
		return nil
	}
	if err := c.Signature.verify(f.cfg.Signers, f.keys.prefix, c.SHA256); err != nil {
		return signatureError{fmt.Errorf("rev %d: %w", c.Rev, err)}
	}
	if order := c.Signature.Order; newest && (order < f.floor.Order || order == f.floor.Order && c.SHA256 != f.floor.SHA256) {
		return signatureError{fmt.Errorf("rev %d: its signature is older than what was tried here (order %d after %d): somebody put an old release back, or the store was restored. "+
			"Sign it anew if it is meant: edge-cfg push --sign KEYFILE --force; after a signer's clock was wrong, with --order %d",
			c.Rev, order, f.floor.Order, f.floor.Order+1)}
	}
	return nil
}

// raise notes the order of a document before it is tried.
func (f *Follower) raise(c Commit) {
	if len(f.cfg.Signers) == 0 || c.Signature == nil || c.Signature.Order <= f.floor.Order {
		return
	}
	f.floor = floor{c.Signature.Order, c.SHA256}
	text, err := json.Marshal(f.floor)
	if err == nil {
		err = durable.WriteFile(SignedFile(f.cfg.CacheFile), text, 0o600)
	}
	if err != nil {
		f.cfg.Log.Error("the order of a signed document is not kept; after a restart an older one would not be noticed", "error", err)
	}
}
