package main

import (
	"context"
	"fmt"
	"math/big"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/crypto"
	"perun.network/go-perun/client"
	"perun.network/go-perun/wire"

	"uperun/control"
)

// meddler stands between the client and its bus: it tells what arrives, and does to what leaves
// what a test asks for. The client itself stays as it is.
type meddler struct {
	wire.Bus

	mutex sync.Mutex
	how   map[string]string // by the name of a message, see meddle
}

func newMeddler(bus wire.Bus) *meddler {
	return &meddler{Bus: bus, how: make(map[string]string)}
}

// set has messages of this name treated like that from now on; "" leaves them alone.
func (m *meddler) set(name, how string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.how[name] = how
}

// SubscribeClient passes on what arrives, and tells the tests.
func (m *meddler) SubscribeClient(c wire.Consumer, addr wireAddress) error {
	return m.Bus.SubscribeClient(&listener{c}, addr)
}

type listener struct{ wire.Consumer }

func (l *listener) Put(e *wire.Envelope) {
	fields := control.Fields{"message": messageName(e.Msg)}
	if sync, ok := e.Msg.(*client.ChannelSyncMsg); ok && sync.CurrentTX.State != nil {
		fields["version"] = sync.CurrentTX.Version
		fields["phase"] = sync.Phase
	}
	control.Event("received", fields)
	l.Consumer.Put(e)
}

// Publish sends an envelope, if the test lets it.
func (m *meddler) Publish(ctx context.Context, e *wire.Envelope) error {
	m.mutex.Lock()
	how := m.how[messageName(e.Msg)]
	m.mutex.Unlock()
	if how == "silent" {
		control.Event("kept", control.Fields{"message": messageName(e.Msg)})
		return nil
	}
	if how != "" {
		msg, err := meddle(e.Msg, how)
		if err != nil {
			return err
		}
		e = &wire.Envelope{Sender: e.Sender, Recipient: e.Recipient, Msg: msg}
	}
	return m.Bus.Publish(ctx, e)
}

// messageName is "ChannelUpdate" for a *client.ChannelUpdateMsg.
func messageName(msg wire.Msg) string {
	name := fmt.Sprintf("%T", msg)
	return strings.TrimSuffix(name[strings.LastIndex(name, ".")+1:], "Msg")
}

// meddle changes a copy of a message. how: "v01", "high-s", "short", "wrong" change the signature;
// "other" makes it answer another question.
func meddle(msg wire.Msg, how string) (wire.Msg, error) {
	switch msg := msg.(type) {
	case *client.ChannelUpdateMsg:
		changed := *msg
		sig, err := spoil(msg.Sig, how)
		changed.Sig = sig
		return &changed, err
	case *client.ChannelUpdateAccMsg:
		changed := *msg
		if how == "other" {
			changed.Version += 1000
			return &changed, nil
		}
		sig, err := spoil(msg.Sig, how)
		changed.Sig = sig
		return &changed, err
	case *client.ChannelUpdateRejMsg:
		changed := *msg
		changed.Version += 1000
		return &changed, nil
	case *client.LedgerChannelProposalAccMsg:
		changed := *msg
		changed.ProposalID[0] ^= 0xff
		return &changed, nil
	}
	return nil, fmt.Errorf("no way to meddle with %s", messageName(msg))
}

// spoil makes a signature that go-perun takes and the contracts refuse, or a wrong one.
func spoil(sig []byte, how string) ([]byte, error) {
	changed := append([]byte(nil), sig...)
	switch how {
	case "v01":
		changed[64] -= 27
	case "high-s":
		order := crypto.S256().Params().N
		s := new(big.Int).Sub(order, new(big.Int).SetBytes(sig[32:64]))
		s.FillBytes(changed[32:64])
		changed[64] = 27 + 28 - changed[64]
	case "short":
		changed = changed[:64]
	case "wrong":
		changed[10] ^= 1
	default:
		return nil, fmt.Errorf("%q is no way to spoil a signature", how)
	}
	return changed, nil
}
