//go:build !gen1

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethwallet "github.com/perun-network/perun-eth-backend/wallet"
	ethwire "github.com/perun-network/perun-eth-backend/wire"
	"perun.network/go-perun/wire"
	"perun.network/go-perun/wire/net/simple"
)

const rsaBits = 2048

// rsaAccount is net/simple's account with a key that outlives the process: its own can only be
// made at random.
type rsaAccount struct {
	address *simple.Address
	key     *rsa.PrivateKey
}

func (a *rsaAccount) Address() wire.Address { return a.address }

func (a *rsaAccount) Sign(msg []byte) ([]byte, error) {
	digest := sha256.Sum256(msg)
	return rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, digest[:])
}

// ethAccount is the Ethereum backend's, whose signature is a constant.
type ethAccount struct{ address *ethwire.Address }

func (a *ethAccount) Address() wire.Address { return a.address }

func (a *ethAccount) Sign([]byte) ([]byte, error) { return new(ethwire.Account).Sign(nil) }

// newIdentity makes the node's account on the wire, and tells go-perun which kind of address the
// whole process reads.
func newIdentity(config Config, account common.Address) (wire.Account, error) {
	switch config.Wire {
	case "simple":
		wire.SetNewAddressFunc(func() wire.Address { return simple.NewAddress("") })
		key, err := rsaKey(config.Identity)
		if err != nil {
			return nil, err
		}
		return &rsaAccount{&simple.Address{Name: config.Name, PublicKey: &key.PublicKey}, key}, nil
	case "eth":
		// Not ethwire.NewAddress: what that makes crashes when it is read into.
		wire.SetNewAddressFunc(func() wire.Address { return &ethwire.Address{Address: new(ethwallet.Address)} })
		return &ethAccount{&ethwire.Address{Address: ethwallet.AsWalletAddr(account)}}, nil
	}
	return nil, fmt.Errorf("wire: %q is neither simple nor eth", config.Wire)
}

// rsaKey reads the key from a file, or makes one and leaves it there.
func rsaKey(path string) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("%s holds no key", path)
		}
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return key, os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// tlsConfig has a certificate that nobody knows and accepts any, as go-perun's examples do: who is
// who, go-perun's own handshake says. Theirs have no name, though, which mbedTLS takes for broken.
func tlsConfig() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "go-perun node"}, // mbedTLS refuses an empty one
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS12,
	}, nil
}
