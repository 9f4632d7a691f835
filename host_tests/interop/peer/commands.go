package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"perun.network/go-perun/channel"
	"perun.network/go-perun/client"
	"perun.network/go-perun/wire"

	"uperun/control"
)

const patience = 60 // seconds that a command may take, unless it says otherwise

// args are the arguments of all commands; each uses some.
type args struct {
	Wire      string     `json:"wire"` // hex: a marshalled wire address
	At        string     `json:"at"`   // host:port
	Channel   string     `json:"channel"`
	Assets    []int      `json:"assets"` // indices of the configuration's
	Balances  [][]string `json:"balances"`
	Agreement [][]string `json:"agreement"`
	Duration  uint64     `json:"duration"`
	Amounts   []string   `json:"amounts"`
	Final     bool       `json:"final"`
	Version   uint64     `json:"version"`
	Secondary bool       `json:"secondary"`
	Message   string     `json:"message"`
	How       string     `json:"how"`
	Proposals *string    `json:"proposals"`
	Updates   *string    `json:"updates"`
	Timeout   float64    `json:"timeout"`
}

type action func(*Node, context.Context, args) (control.Fields, error)

// handlers are the commands of a node.
func (n *Node) handlers() map[string]control.Handler {
	handlers := make(map[string]control.Handler)
	for name, act := range map[string]action{
		"peer":     (*Node).doPeer,
		"policy":   (*Node).doPolicy,
		"propose":  (*Node).doPropose,
		"pay":      (*Node).doPay,
		"update":   (*Node).doUpdate,
		"settle":   (*Node).doSettle,
		"register": (*Node).doRegister,
		"meddle":   (*Node).doMeddle,
		"sync":     (*Node).doSync,
		"channels": (*Node).doChannels,
	} {
		handlers[name] = func(command control.Command) (control.Fields, error) {
			a := args{Timeout: patience}
			if err := command.Into(&a); err != nil {
				return nil, err
			}
			limit := time.Duration(a.Timeout * float64(time.Second))
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			return act(n, ctx, a)
		}
	}
	return handlers
}

// doPeer says where to reach the peer with this wire address.
func (n *Node) doPeer(_ context.Context, a args) (control.Fields, error) {
	peer, err := peerAddress(a.Wire)
	if err != nil {
		return nil, err
	}
	n.dialer.Register(peer, a.At)
	return nil, nil
}

func peerAddress(text string) (wireAddress, error) {
	data, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return readWireAddress(data)
}

// doPolicy says how to answer proposals and updates from now on.
func (n *Node) doPolicy(_ context.Context, a args) (control.Fields, error) {
	n.policy.mutex.Lock()
	defer n.policy.mutex.Unlock()
	if a.Proposals != nil {
		n.policy.proposals = *a.Proposals
	}
	if a.Updates != nil {
		n.policy.updates = *a.Updates
	}
	return nil, nil
}

// doPropose opens a channel; returns when it is funded.
func (n *Node) doPropose(ctx context.Context, a args) (control.Fields, error) {
	peer, err := peerAddress(a.Wire)
	if err != nil {
		return nil, err
	}
	balances, err := amounts(a.Balances)
	if err != nil {
		return nil, err
	}
	if len(a.Assets) == 0 {
		a.Assets = []int{0}
	}
	var assets []channel.Asset
	for _, i := range a.Assets {
		if i < 0 || i >= len(n.assets) {
			return nil, fmt.Errorf("there is no asset %d", i)
		}
		assets = append(assets, n.assets[i])
	}
	allocation := newAllocation(assets)
	allocation.Balances = balances
	options := []client.ProposalOpts{client.WithRandomNonce()}
	if a.Agreement != nil {
		agreement, err := amounts(a.Agreement)
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithFundingAgreement(agreement))
	}
	peers := []wireAddress{n.wire(), peer}
	proposal, err := client.NewLedgerChannelProposal(
		a.Duration, n.participant(), allocation, peers, options...)
	if err != nil {
		return nil, err
	}
	ch, err := n.client.ProposeChannel(ctx, proposal)
	if err != nil {
		return nil, err
	}
	return n.describe(ch), nil
}

// doPay pays the peer an amount of each asset.
func (n *Node) doPay(ctx context.Context, a args) (control.Fields, error) {
	rows, err := amounts([][]string{a.Amounts})
	if err != nil {
		return nil, err
	}
	return n.update(ctx, a.Channel, func(ch *client.Channel, state *channel.State) {
		for i, amount := range rows[0] {
			row := state.Balances[i]
			row[ch.Idx()] = new(big.Int).Sub(row[ch.Idx()], amount)
			row[1-ch.Idx()] = new(big.Int).Add(row[1-ch.Idx()], amount)
		}
		state.IsFinal = a.Final
	})
}

// doUpdate proposes these balances (those of now if there are none), finally if final.
func (n *Node) doUpdate(ctx context.Context, a args) (control.Fields, error) {
	balances, err := amounts(a.Balances)
	if err != nil {
		return nil, err
	}
	return n.update(ctx, a.Channel, func(_ *client.Channel, state *channel.State) {
		if a.Balances != nil {
			state.Balances = balances
		}
		state.IsFinal = a.Final
	})
}

func (n *Node) update(ctx context.Context, id string, change func(*client.Channel, *channel.State)) (control.Fields, error) {
	ch, err := n.channel(id)
	if err != nil {
		return nil, err
	}
	if err := ch.Update(ctx, func(state *channel.State) { change(ch, state) }); err != nil {
		return nil, err
	}
	return n.describe(ch), nil
}

// doSettle concludes (registering first, if there is no final state) and withdraws.
func (n *Node) doSettle(ctx context.Context, a args) (control.Fields, error) {
	ch, err := n.channel(a.Channel)
	if err != nil {
		return nil, err
	}
	if err := ch.Settle(ctx, a.Secondary); err != nil {
		return nil, err
	}
	return n.describe(ch), nil
}

// doRegister registers a state that both have signed, however old.
func (n *Node) doRegister(ctx context.Context, a args) (control.Fields, error) {
	id, err := channelID(a.Channel)
	if err != nil {
		return nil, err
	}
	request, ok := n.memory.at(id, a.Version)
	if !ok {
		return nil, fmt.Errorf("no version %d of this channel was kept", a.Version)
	}
	return nil, n.adjudicator.Register(ctx, request, nil)
}

// doMeddle changes or keeps back messages of a name, see meddle; how "silent" keeps them, "" ends it.
func (n *Node) doMeddle(_ context.Context, a args) (control.Fields, error) {
	n.bus.set(a.Message, a.How)
	return nil, nil
}

// doSync asks the peer what it has. go-perun answers every ChannelSync with one of its own: two
// nodes of its kind never stop.
func (n *Node) doSync(ctx context.Context, a args) (control.Fields, error) {
	ch, err := n.channel(a.Channel)
	if err != nil {
		return nil, err
	}
	request, ok := n.memory.newest(ch.ID())
	if !ok {
		return nil, fmt.Errorf("no state of this channel was kept")
	}
	return nil, n.bus.Publish(ctx, &wire.Envelope{
		Sender:    n.wire(),
		Recipient: ch.Peers()[1-ch.Idx()],
		Msg:       &client.ChannelSyncMsg{Phase: ch.Phase(), CurrentTX: request.Tx},
	})
}

func (n *Node) doChannels(context.Context, args) (control.Fields, error) {
	return control.Fields{"channels": n.restored()}, nil
}

func (n *Node) channel(text string) (*client.Channel, error) {
	id, err := channelID(text)
	if err != nil {
		return nil, err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if ch, ok := n.channels[id]; ok {
		return ch, nil
	}
	return nil, fmt.Errorf("no such channel")
}

func channelID(text string) (channel.ID, error) {
	var id channel.ID
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(id) {
		return id, fmt.Errorf("%q is no channel", text)
	}
	copy(id[:], data)
	return id, nil
}
