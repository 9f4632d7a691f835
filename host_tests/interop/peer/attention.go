package main

import (
	"context"
	"sync"

	"perun.network/go-perun/channel"
	"perun.network/go-perun/client"
	"perun.network/go-perun/watcher"

	"uperun/control"
)

// attention is a watcher that tells when the client has begun to tell it states. A state that is
// signed while client.Channel.Watch begins never reaches go-perun's watcher: it gets the state
// before, and what it is told later goes through an interface that is not there yet.
type attention struct {
	watcher.Watcher

	mutex sync.Mutex
	begun map[channel.ID]chan struct{}
}

func newAttention(w watcher.Watcher) *attention {
	return &attention{Watcher: w, begun: make(map[channel.ID]chan struct{})}
}

// expect is closed when the channel's states reach the watcher.
func (a *attention) expect(id channel.ID) chan struct{} {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.begun[id] = make(chan struct{})
	return a.begun[id]
}

// StartWatchingLedgerChannel is called by client.Channel.Watch.
func (a *attention) StartWatchingLedgerChannel(
	ctx context.Context, state channel.SignedState,
) (watcher.StatesPub, watcher.AdjudicatorSub, error) {
	states, events, err := a.Watcher.StartWatchingLedgerChannel(ctx, state)
	if err != nil {
		return nil, nil, err
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return states, &attentive{AdjudicatorSub: events, begun: a.begun[state.State.ID]}, nil
}

type attentive struct {
	watcher.AdjudicatorSub

	once  sync.Once
	begun chan struct{}
}

// EventStream is what the client asks for when it has the interface for its states.
func (s *attentive) EventStream() <-chan channel.AdjudicatorEvent {
	s.once.Do(func() { close(s.begun) })
	return s.AdjudicatorSub.EventStream()
}

// watch returns when the channel is watched, or cannot be.
func (a *attention) watch(ch *client.Channel) {
	begun, failed := a.expect(ch.ID()), make(chan struct{})
	go func() {
		if err := ch.Watch(watching{ch}); err != nil {
			control.Event("error", control.Fields{"text": "watch: " + err.Error()})
			close(failed)
		}
	}()
	select {
	case <-begun:
	case <-failed:
	}
}
