//go:build !gen1

package main

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethchannel "github.com/perun-network/perun-eth-backend/channel"
	ethwallet "github.com/perun-network/perun-eth-backend/wallet"
	"perun.network/go-perun/channel"
	"perun.network/go-perun/channel/persistence"
	"perun.network/go-perun/channel/persistence/keyvalue"
	"perun.network/go-perun/wallet"
	"perun.network/go-perun/wire"
	wirenet "perun.network/go-perun/wire/net"
	"perun.network/go-perun/wire/net/simple"
	perunio "perun.network/go-perun/wire/perunio/serializer"
	"perun.network/go-perun/wire/protobuf"
	"polycry.pt/poly-go/sortedkv/leveldb"
)

// What generation 2 has otherwise than generation 1: everything is a map by backend, TLS, gas
// limits, a store.

const (
	depositGas     = 200_000
	adjudicatorGas = 1_000_000
)

type (
	wireAddress   = map[wallet.BackendID]wire.Address
	walletAddress = map[wallet.BackendID]wallet.Address
)

func (n *Node) wire() wireAddress {
	return wireAddress{ethwallet.BackendID: n.id.Address()}
}

func (n *Node) participant() walletAddress {
	return walletAddress{ethwallet.BackendID: ethwallet.AsWalletAddr(n.account)}
}

func (n *Node) wallets() map[wallet.BackendID]wallet.Wallet {
	return map[wallet.BackendID]wallet.Wallet{ethwallet.BackendID: n.chain.wallet}
}

// readWireAddress reads a marshalled wire address.
func readWireAddress(data []byte) (wireAddress, error) {
	address := wire.NewAddress()
	if err := address.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("not a wire address: %w", err)
	}
	return wireAddress{ethwallet.BackendID: address}, nil
}

func newAllocation(assets []channel.Asset) *channel.Allocation {
	backends := make([]wallet.BackendID, len(assets))
	for i := range backends {
		backends[i] = ethwallet.BackendID
	}
	return channel.NewAllocation(2, backends, assets...)
}

func newDepositor(token *common.Address) ethchannel.Depositor {
	if token == nil {
		return ethchannel.NewETHDepositor(depositGas)
	}
	return ethchannel.NewERC20Depositor(*token, depositGas)
}

func (n *Node) newAdjudicator() *ethchannel.Adjudicator {
	return ethchannel.NewAdjudicator(
		n.chain.backend, n.config.Adjudicator, n.account, n.chain.account, adjudicatorGas)
}

// newNet makes the listener, the dialer and the bus.
func (n *Node) newNet() (listener *simple.Listener, err error) {
	tls, err := tlsConfig()
	if err != nil {
		return nil, err
	}
	serializer := protobuf.Serializer()
	if n.config.Serializer == "perunio" {
		serializer = perunio.Serializer()
	}
	n.dialer = simple.NewTCPDialer(5*time.Second, tls)
	accounts := map[wallet.BackendID]wire.Account{ethwallet.BackendID: n.id}
	n.net = wirenet.NewBus(accounts, n.dialer, serializer)
	return simple.NewTCPListener(n.config.Listen, tls)
}

// openStore opens what outlives the process; folder: "" keeps nothing.
func openStore(folder string) (persistence.PersistRestorer, error) {
	if folder == "" {
		return persistence.NonPersistRestorer, nil
	}
	db, err := leveldb.LoadDatabase(folder)
	if err != nil {
		return nil, err
	}
	return keyvalue.NewPersistRestorer(db), nil
}
