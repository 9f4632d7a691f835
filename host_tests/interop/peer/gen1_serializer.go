//go:build gen1

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	ethchannel "github.com/perun-network/perun-eth-backend/channel"
	"google.golang.org/protobuf/proto"
	"perun.network/go-perun/channel"
	"perun.network/go-perun/client"
	"perun.network/go-perun/wire"
	"perun.network/go-perun/wire/perunio"
	"perun.network/go-perun/wire/protobuf"
)

// serializer is go-perun's protobuf serializer, with assets as the Ethereum backend has them since
// the end of 2022 and perun-rs expects them: chain id, then holder. The backend's v0.1.0 writes
// them the other way round, and reads nothing at all (its UnmarshalBinary fills a copy).
type serializer struct{}

// Encode writes an envelope as go-perun does, length and body in two writes.
func (serializer) Encode(w io.Writer, env *wire.Envelope) error {
	var frame bytes.Buffer
	if err := protobuf.Serializer().Encode(&frame, env); err != nil {
		return err
	}
	var message protobuf.Envelope
	if err := proto.Unmarshal(frame.Bytes()[2:], &message); err != nil {
		return err
	}
	if raw, assets := rawAllocation(&message), assetsOf(env.Msg); raw != nil && assets != nil {
		for i, asset := range *assets {
			a := asset.(*ethchannel.Asset)
			var data bytes.Buffer
			if err := perunio.Encode(&data, a.ChainID, &a.AssetHolder); err != nil {
				return err
			}
			raw.Assets[i] = data.Bytes()
		}
	}
	body, err := proto.Marshal(&message)
	if err != nil {
		return err
	}
	if len(body) > math.MaxUint16 {
		return fmt.Errorf("an envelope of %d bytes", len(body))
	}
	if err := binary.Write(w, binary.BigEndian, uint16(len(body))); err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

// Decode reads an envelope as go-perun does: the body with a single read.
func (serializer) Decode(r io.Reader) (*wire.Envelope, error) {
	var frame bytes.Buffer
	env, err := protobuf.Serializer().Decode(io.TeeReader(r, &frame))
	if err != nil {
		return env, err
	}
	var message protobuf.Envelope
	if err := proto.Unmarshal(frame.Bytes()[2:], &message); err != nil {
		return env, err
	}
	if raw, assets := rawAllocation(&message), assetsOf(env.Msg); raw != nil && assets != nil {
		for i, data := range raw.Assets {
			a := new(ethchannel.Asset)
			if err := perunio.Decode(bytes.NewReader(data), &a.ChainID, &a.AssetHolder); err != nil {
				return env, err
			}
			(*assets)[i] = a
		}
	}
	return env, nil
}

// rawAllocation is the allocation in a message of the ledger channels, or nil.
func rawAllocation(m *protobuf.Envelope) *protobuf.Allocation {
	if p := m.GetLedgerChannelProposalMsg(); p != nil {
		return p.GetBaseChannelProposal().GetInitBals()
	}
	if u := m.GetChannelUpdateMsg(); u != nil {
		return u.GetChannelUpdate().GetState().GetAllocation()
	}
	if s := m.GetChannelSyncMsg(); s != nil {
		return s.GetCurrentTx().GetState().GetAllocation()
	}
	return nil
}

// assetsOf are the assets in such a message.
func assetsOf(msg wire.Msg) *[]channel.Asset {
	switch msg := msg.(type) {
	case *client.LedgerChannelProposalMsg:
		return &msg.InitBals.Assets
	case *client.ChannelUpdateMsg:
		return &msg.State.Assets
	case *client.ChannelSyncMsg:
		if msg.CurrentTX.State != nil {
			return &msg.CurrentTX.Assets
		}
	}
	return nil
}
