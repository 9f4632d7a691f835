//go:build gen1

package main

import (
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/common"
	ethchannel "github.com/perun-network/perun-eth-backend/channel"
	ethwallet "github.com/perun-network/perun-eth-backend/wallet"
	"perun.network/go-perun/channel"
	"perun.network/go-perun/channel/persistence"
	"perun.network/go-perun/wallet"
	"perun.network/go-perun/wire"
	wirenet "perun.network/go-perun/wire/net"
	"perun.network/go-perun/wire/net/simple"
)

// What generation 1 has otherwise than generation 2: one backend, plain TCP, names that nothing
// proves, no store.

type (
	wireAddress   = wire.Address
	walletAddress = wallet.Address
)

func (n *Node) wire() wireAddress          { return n.id.Address() }
func (n *Node) participant() walletAddress { return ethwallet.AsWalletAddr(n.account) }
func (n *Node) wallets() wallet.Wallet     { return n.chain.wallet }

func newIdentity(config Config, _ common.Address) (wire.Account, error) {
	return simple.NewAccount(simple.NewAddress(config.Name)), nil
}

func readWireAddress(data []byte) (wireAddress, error) {
	return simple.NewAddress(string(data)), nil
}

func newAllocation(assets []channel.Asset) *channel.Allocation {
	return channel.NewAllocation(2, assets...)
}

func newDepositor(token *common.Address) ethchannel.Depositor {
	if token == nil {
		return ethchannel.NewETHDepositor()
	}
	return ethchannel.NewERC20Depositor(*token)
}

func (n *Node) newAdjudicator() *ethchannel.Adjudicator {
	return ethchannel.NewAdjudicator(
		n.chain.backend, n.config.Adjudicator, n.account, n.chain.account)
}

func (n *Node) newNet() (*simple.Listener, error) {
	n.dialer = simple.NewTCPDialer(5 * time.Second)
	n.net = wirenet.NewBus(n.id, n.dialer, serializer{})
	return simple.NewTCPListener(n.config.Listen)
}

func openStore(folder string) (persistence.PersistRestorer, error) {
	if folder != "" {
		return nil, errors.New("store: the assets of this backend cannot be read back")
	}
	return persistence.NonPersistRestorer, nil
}
