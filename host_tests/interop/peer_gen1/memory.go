package main

import (
	"context"
	"sync"

	"perun.network/go-perun/channel"
	"perun.network/go-perun/channel/persistence"
)

// memory passes on what the client stores, and keeps every state that both have signed: what a
// cheater would keep to register later.
type memory struct {
	persistence.PersistRestorer

	mutex sync.Mutex
	past  map[channel.ID]map[uint64]channel.AdjudicatorReq
	phase map[channel.ID]channel.Phase
}

func newMemory(pr persistence.PersistRestorer) *memory {
	return &memory{
		PersistRestorer: pr,
		past:            make(map[channel.ID]map[uint64]channel.AdjudicatorReq),
		phase:           make(map[channel.ID]channel.Phase),
	}
}

// Enabled is called when both have signed a state.
func (m *memory) Enabled(ctx context.Context, source channel.Source) error {
	m.keep(source)
	return m.PersistRestorer.Enabled(ctx, source)
}

// PhaseChanged is called when the phase of a channel does.
func (m *memory) PhaseChanged(ctx context.Context, source channel.Source) error {
	m.keep(source)
	return m.PersistRestorer.PhaseChanged(ctx, source)
}

// ChannelRemoved is called once the money is withdrawn.
func (m *memory) ChannelRemoved(ctx context.Context, id channel.ID) error {
	m.mutex.Lock()
	m.phase[id] = channel.Withdrawn
	m.mutex.Unlock()
	return m.PersistRestorer.ChannelRemoved(ctx, id)
}

// Staged is called when an update waits for signatures.
func (m *memory) Staged(ctx context.Context, source channel.Source) error {
	m.keep(source)
	return m.PersistRestorer.Staged(ctx, source)
}

func (m *memory) keep(source channel.Source) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.phase[source.ID()] = source.Phase()
	if source.CurrentTX().State == nil {
		return
	}
	transaction := source.CurrentTX().Clone()
	if m.past[source.ID()] == nil {
		m.past[source.ID()] = make(map[uint64]channel.AdjudicatorReq)
	}
	m.past[source.ID()][transaction.Version] = channel.AdjudicatorReq{
		Params: source.Params(), Tx: transaction, Idx: source.Idx(),
	}
}

// at is a state of a channel by its version, ready for the adjudicator.
func (m *memory) at(id channel.ID, version uint64) (channel.AdjudicatorReq, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	request, ok := m.past[id][version]
	return request, ok
}

// look is how things stand, without waiting for the channel, which may be busy for long.
func (m *memory) look(id channel.ID) (channel.AdjudicatorReq, channel.Phase) {
	request, _ := m.newest(id)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return request, m.phase[id]
}

func (m *memory) newest(id channel.ID) (channel.AdjudicatorReq, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	newest, found := channel.AdjudicatorReq{}, false
	for _, request := range m.past[id] {
		if !found || request.Tx.Version > newest.Tx.Version {
			newest, found = request, true
		}
	}
	return newest, found
}
