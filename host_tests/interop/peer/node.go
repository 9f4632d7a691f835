package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	ethchannel "github.com/perun-network/perun-eth-backend/channel"
	"perun.network/go-perun/channel"
	"perun.network/go-perun/client"
	"perun.network/go-perun/watcher/local"
	"perun.network/go-perun/wire"
	wirenet "perun.network/go-perun/wire/net"
	"perun.network/go-perun/wire/net/simple"

	"uperun/control"
)

// Config is the first line that a node reads.
type Config struct {
	Chain       string         `json:"chain"`      // WebSocket URL
	Key         string         `json:"key"`        // hex: pays, signs states, receives
	Name        string         `json:"name"`       // of the wire address, if it is simple
	Wire        string         `json:"wire"`       // simple or eth
	Identity    string         `json:"identity"`   // file of the RSA key; made if it is not there
	Serializer  string         `json:"serializer"` // protobuf or perunio
	Listen      string         `json:"listen"`     // host:port, port 0 for a free one
	Adjudicator common.Address `json:"adjudicator"`
	Assets      []AssetConfig  `json:"assets"`
	Store       string         `json:"store"`    // folder; "" keeps nothing
	Validate    bool           `json:"validate"` // compare the contracts' code with the bindings'
}

// AssetConfig is an asset holder, and its token unless it holds ether.
type AssetConfig struct {
	Holder common.Address  `json:"holder"`
	Token  *common.Address `json:"token"`
}

// Node is a go-perun client with all that belongs to it.
type Node struct {
	config      Config
	chain       *chain
	account     common.Address
	id          wire.Account
	dialer      *simple.Dialer
	bus         *meddler
	net         *wirenet.Bus
	client      *client.Client
	adjudicator *ethchannel.Adjudicator
	attention   *attention
	memory      *memory
	assets      []channel.Asset
	port        int
	policy      *policy

	mutex    sync.Mutex
	channels map[channel.ID]*client.Channel
}

func newNode(config Config) (*Node, error) {
	key, err := crypto.HexToECDSA(strings.TrimPrefix(config.Key, "0x"))
	if err != nil {
		return nil, errors.New("key: not a key")
	}
	n := &Node{
		config:   config,
		account:  crypto.PubkeyToAddress(key.PublicKey),
		channels: make(map[channel.ID]*client.Channel),
		policy:   newPolicy(),
	}
	if n.chain, err = dial(config.Chain, key); err != nil {
		return nil, err
	}
	if config.Validate {
		if err := n.chain.validate(config.Adjudicator, config.Assets); err != nil {
			return nil, err
		}
	}
	if n.id, err = newIdentity(config, n.account); err != nil {
		return nil, err
	}
	if err := n.startNet(); err != nil {
		return nil, err
	}
	if err := n.startClient(); err != nil {
		return nil, err
	}
	return n, nil
}

// startNet opens the listener and the bus.
func (n *Node) startNet() error {
	listener, err := n.newNet()
	if err != nil {
		return err
	}
	n.port = listener.Addr().(*net.TCPAddr).Port
	n.bus = newMeddler(n.net)
	go n.net.Listen(listener)
	return nil
}

// startClient makes funder, adjudicator, watcher and client, and brings back stored channels.
func (n *Node) startClient() error {
	funder := ethchannel.NewFunder(n.chain.backend)
	for _, a := range n.config.Assets {
		asset := ethchannel.NewAsset(n.chain.id, a.Holder)
		funder.RegisterAsset(*asset, newDepositor(a.Token), n.chain.account)
		n.assets = append(n.assets, asset)
	}
	n.adjudicator = n.newAdjudicator()
	watcher, err := local.NewWatcher(n.adjudicator)
	if err != nil {
		return err
	}
	n.attention = newAttention(watcher)
	n.client, err = client.New(n.wire(), n.bus, funder, n.adjudicator, n.wallets(), n.attention)
	if err != nil {
		return err
	}
	store, err := openStore(n.config.Store)
	if err != nil {
		return err
	}
	n.memory = newMemory(store)
	n.client.EnablePersistence(n.memory)
	n.client.OnNewChannel(n.adopt)
	if err := n.client.Restore(context.Background()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	go n.client.Handle(n, n)
	return nil
}

// adopt is called for every new or restored channel: watch it, then tell the tests.
func (n *Node) adopt(ch *client.Channel) {
	n.mutex.Lock()
	n.channels[ch.ID()] = ch
	n.mutex.Unlock()
	n.memory.recall(context.Background(), ch.ID())
	ch.OnUpdate(func(_, to *channel.State) { control.Event("update", describeState(to)) })
	n.attention.watch(ch)
	control.Event("channel", n.describe(ch))
}

type watching struct{ ch *client.Channel }

// HandleAdjudicatorEvent tells what the watcher saw on the chain.
func (w watching) HandleAdjudicatorEvent(e channel.AdjudicatorEvent) {
	kind := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", e), "*channel."), "Event"))
	control.Event(kind, control.Fields{"channel": idHex(e.ID()), "version": e.Version()})
}

func (n *Node) wireHex() string {
	data, err := n.id.Address().MarshalBinary()
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(data)
}

func (n *Node) restored() []control.Fields {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	list := []control.Fields{}
	for _, ch := range n.channels {
		list = append(list, n.describe(ch))
	}
	return list
}

func (n *Node) stop() error {
	err := n.client.Close()
	return errors.Join(err, n.net.Close(), n.memory.Close())
}

// describe is what tests see of a channel.
func (n *Node) describe(ch *client.Channel) control.Fields {
	request, phase := n.memory.look(ch.ID())
	fields := describeState(request.Tx.State)
	fields["phase"] = phase.String()
	fields["index"] = ch.Idx()
	fields["duration"] = ch.Params().ChallengeDuration
	return fields
}

func describeState(state *channel.State) control.Fields {
	return control.Fields{
		"channel": idHex(state.ID), "version": state.Version, "final": state.IsFinal,
		"balances": texts(state.Balances),
	}
}

func idHex(id channel.ID) string { return hex.EncodeToString(id[:]) }

// texts writes amounts as decimal strings: JSON's numbers are too short.
func texts(balances channel.Balances) [][]string {
	rows := make([][]string, len(balances))
	for a, row := range balances {
		for _, amount := range row {
			rows[a] = append(rows[a], amount.String())
		}
	}
	return rows
}

func amounts(rows [][]string) (channel.Balances, error) {
	balances := make(channel.Balances, len(rows))
	for a, row := range rows {
		for _, text := range row {
			amount, ok := new(big.Int).SetString(text, 10)
			if !ok {
				return nil, fmt.Errorf("%q is no amount", text)
			}
			balances[a] = append(balances[a], amount)
		}
	}
	return balances, nil
}
