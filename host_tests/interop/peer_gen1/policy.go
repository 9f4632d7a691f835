package main

import (
	"context"
	"sync"
	"time"

	"perun.network/go-perun/channel"
	"perun.network/go-perun/client"

	"uperun/control"
)

const answerTime = 60 * time.Second

// policy says how the node answers proposals and updates: "accept", "ignore", or else the text of
// a refusal. Updates may also be "gain": only what leaves it no poorer.
type policy struct {
	mutex     sync.Mutex
	proposals string
	updates   string
}

func newPolicy() *policy { return &policy{proposals: "accept", updates: "gain"} }

func (p *policy) get() (proposals, updates string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.proposals, p.updates
}

// HandleProposal is called by go-perun for a valid proposal.
func (n *Node) HandleProposal(proposal client.ChannelProposal, responder *client.ProposalResponder) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	how, _ := n.policy.get()
	base := proposal.Base()
	control.Event("proposal", control.Fields{
		"duration": base.ChallengeDuration, "balances": texts(base.InitBals.Balances), "answer": how,
	})
	ledger, ok := proposal.(*client.LedgerChannelProposalMsg)
	if how == "ignore" || !ok {
		return
	}
	if how != "accept" {
		report("reject proposal", responder.Reject(ctx, how))
		return
	}
	_, err := responder.Accept(ctx, ledger.Accept(n.participant(), client.WithRandomNonce()))
	report("accept proposal", err)
}

// HandleUpdate is called by go-perun for a valid update.
func (n *Node) HandleUpdate(from *channel.State, update client.ChannelUpdate, responder *client.UpdateResponder) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	_, how := n.policy.get()
	if how == "gain" {
		how = "accept"
		for a, row := range update.State.Balances {
			if row[1-update.ActorIdx].Cmp(from.Balances[a][1-update.ActorIdx]) < 0 {
				how = "that would make me poorer"
			}
		}
	}
	switch how {
	case "ignore": // go-perun's channel is locked until it is answered
		time.Sleep(answerTime)
		report("reject update", responder.Reject(ctx, "too late"))
	case "accept":
		report("accept update", responder.Accept(ctx))
	default:
		report("reject update", responder.Reject(ctx, how))
	}
}

func report(what string, err error) {
	if err != nil {
		control.Event("error", control.Fields{"text": what + ": " + err.Error()})
	}
}
