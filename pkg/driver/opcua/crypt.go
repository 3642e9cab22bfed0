package opcua

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"
)

// security is how the messages of one channel are protected.
type security struct {
	policy string // URI
	mode   ua.MessageSecurityMode
	cert   []byte          // ours, DER
	key    *rsa.PrivateKey // of cert
	remote []byte          // the server's, DER
}

// none reports whether messages are sent as they are.
func (s *security) none() bool { return s.policy == ua.SecurityPolicyURINone }

// asymmetric returns the algorithms of the messages that open the channel, and of
// what is signed and encrypted under the policy otherwise. "" is the channel's own.
func (s *security) asymmetric(policy string) (*uapolicy.EncryptionAlgorithm, error) {
	if policy == "" {
		policy = s.policy
	}
	if policy == ua.SecurityPolicyURINone {
		return uapolicy.Asymmetric(policy, nil, nil)
	}
	remote, err := publicKey(s.remote)
	if err != nil {
		return nil, err
	}
	return uapolicy.Asymmetric(policy, s.key, remote)
}

func publicKey(der []byte) (*rsa.PublicKey, error) {
	cert, err := leaf(der)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the server's certificate has no RSA key")
	}
	return key, nil
}

// leaf returns the first certificate of a chain in DER.
func leaf(der []byte) (*x509.Certificate, error) {
	chain, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, fmt.Errorf("the server's certificate: %w", err)
	}
	if len(chain) == 0 {
		return nil, errors.New("the server has no certificate")
	}
	return chain[0], nil
}

// sealer makes chunks of messages.
type sealer struct {
	algo          *uapolicy.EncryptionAlgorithm
	sign, encrypt bool
}

// The sizes of what stands before a chunk's body (OPC 10000-6, 6.7.2).
const (
	chunkHeader    = 12 // type, size, channel id
	sequenceHeader = 8
)

// paddingBytes is how many bytes tell the length of the padding for a receiver's key
// of that size.
func paddingBytes(keySize int) int {
	if keySize > 256 {
		return 2
	}
	return 1
}

// room returns how much of a message fits in a chunk of size bytes with a security
// header of that length.
func (s *sealer) room(size, header int) int {
	n := size - chunkHeader - header
	if s.encrypt {
		n = n/s.algo.BlockSize()*s.algo.PlaintextBlockSize() - paddingBytes(s.algo.RemoteSignatureLength())
	}
	if s.sign {
		n -= s.algo.SignatureLength()
	}
	return n - sequenceHeader
}

// seal completes a chunk: b holds its headers and its body, header bytes of which
// stay readable. The size in the header is filled in.
func (s *sealer) seal(b []byte, header int) ([]byte, error) {
	if !s.sign {
		binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
		return b, nil
	}
	size := len(b) + s.algo.SignatureLength()
	if s.encrypt {
		extra := paddingBytes(s.algo.RemoteSignatureLength())
		block := s.algo.PlaintextBlockSize()
		pad := (block - (len(b)-header+s.algo.SignatureLength()+extra)%block) % block
		for range pad + 1 {
			b = append(b, byte(pad))
		}
		if extra == 2 {
			b = append(b, byte(pad>>8))
		}
		size = header + (len(b)-header+s.algo.SignatureLength())/block*s.algo.BlockSize()
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(size))
	sig, err := s.algo.Signature(b)
	if err != nil {
		return nil, fmt.Errorf("sign a message: %w", err)
	}
	b = append(b, sig...)
	if !s.encrypt {
		return b, nil
	}
	secret, err := s.algo.Encrypt(b[header:])
	if err != nil {
		return nil, fmt.Errorf("encrypt a message: %w", err)
	}
	return append(b[:header:header], secret...), nil
}

var errForged = errors.New("a message of the server fails the check of its signature")

// open checks a chunk that came and returns what stands behind its header bytes.
func (s *sealer) open(b []byte, header int) ([]byte, error) {
	if !s.sign {
		return b[header:], nil
	}
	if s.encrypt {
		if n := len(b) - header; n == 0 || s.algo.BlockSize() > 1 && n%aesBlock != 0 {
			return nil, errForged
		}
		plain, err := s.algo.Decrypt(b[header:])
		if err != nil {
			return nil, fmt.Errorf("decrypt a message: %w", err)
		}
		b = append(b[:header:header], plain...)
	}
	signed := len(b) - s.algo.RemoteSignatureLength()
	if signed < header {
		return nil, errForged
	}
	if err := s.algo.VerifySignature(b[:signed], b[signed:]); err != nil {
		return nil, errForged
	}
	b = b[:signed]
	if s.encrypt {
		extra := paddingBytes(s.algo.SignatureLength())
		if len(b) < header+extra {
			return nil, errForged
		}
		pad := int(b[len(b)-1])
		if extra == 2 {
			pad = pad<<8 | int(b[len(b)-2])
		}
		if pad+extra > len(b)-header {
			return nil, errForged
		}
		b = b[:len(b)-pad-extra]
	}
	return b[header:], nil
}

// aesBlock divides every length that a cipher of the policies gives.
const aesBlock = 16
