// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {App} from "./App.sol";
import {AssetHolder} from "./AssetHolder.sol";
import {Channel} from "./Channel.sol";
import {Signature} from "./Signature.sol";

/// @title The judge of payment and state channels.
/// @notice Finds out which state of a channel counts, and tells the asset holders who gets what.
/// It holds no money. Anybody may call: every decision rests on the participants' signatures.
///
/// The life of a dispute: registered (DISPUTE), then newer states may refute until the timeout;
/// channels with an app may then be moved on by single participants (FORCEEXEC); after the last
/// timeout the channel is CONCLUDED. A final state that all signed skips all waiting.
contract Adjudicator {
    /// @dev A state, the parameters of its channel, and all signatures, in participant order.
    struct SignedState {
        Channel.Params params;
        Channel.State state;
        bytes[] sigs;
    }

    /// @dev Two storage slots: all that is small shares the first one.
    struct Dispute {
        uint64 timeout;
        uint64 challengeDuration;
        uint64 version;
        uint8 phase;
        bool hasApp;
        bytes32 stateHash;
    }

    uint8 private constant DISPUTE = 0;
    uint8 private constant FORCEEXEC = 1;
    uint8 private constant CONCLUDED = 2;

    /// @dev A channel is registered when its stateHash is not zero.
    mapping(bytes32 channelID => Dispute) private _disputes;

    /// @notice A channel was registered or refuted (phase 0), progressed (1) or concluded (2).
    event ChannelUpdate(bytes32 indexed channelID, uint64 version, uint8 phase, uint64 timeout);

    /// @notice Registers a ledger channel and all channels funded from it, or refutes older states
    /// with newer ones.
    /// @dev A refutation does not extend the timeout, so nobody can delay the end for ever.
    /// @param subChannels The children in depth-first order of `locked`. More are ignored.
    function register(SignedState calldata channel, SignedState[] calldata subChannels) external {
        require(channel.params.ledgerChannel, "not ledger");
        _registerTree(channel, subChannels, 0);
    }

    /// @notice Moves a registered app channel one state on, with one participant's signature.
    /// @dev The first progress is possible once the refutation is over, until somebody concludes;
    /// every later one only until the timeout that the one before has set.
    /// @param stateOld The registered state: the chain knows only its hash.
    function progress(
        Channel.Params calldata params,
        Channel.State calldata stateOld,
        Channel.State calldata state,
        uint256 actorIdx,
        bytes calldata sig
    ) external {
        Dispute storage dispute = _registered(state.channelID);
        uint8 phase = dispute.phase;
        if (phase == DISPUTE) {
            require(block.timestamp >= dispute.timeout, "timeout not passed");
        } else {
            require(phase == FORCEEXEC, "invalid phase");
            require(block.timestamp < dispute.timeout, "timeout passed");
        }
        require(Channel.hasApp(params), "must have app");
        require(actorIdx < params.participants.length, "actorIdx out of range");
        Channel.requireMatch(params, state);
        require(dispute.stateHash == Channel.hash(stateOld), "wrong old state");
        bytes32 stateHash = Channel.hash(state);
        Channel.requireSigner(Signature.digest(stateHash), sig, params.participants[actorIdx]);

        require(state.version == stateOld.version + 1, "version must increment by one");
        require(!stateOld.isFinal, "cannot progress from final state");
        Channel.requireSameFunds(stateOld.outcome, state.outcome, params.participants.length);
        App(params.app).validTransition(params, stateOld, state, actorIdx);

        _store(params, state, stateHash, FORCEEXEC, _deadline(params, state));
    }

    /// @notice Ends a registered ledger channel and its children, and sets the outcome.
    /// @param subStates The registered states of the children in depth-first order of `locked`.
    function conclude(
        Channel.Params calldata params,
        Channel.State calldata state,
        Channel.State[] calldata subStates
    ) external {
        require(params.ledgerChannel, "not ledger");
        Channel.requireMatch(params, state);
        Dispute storage dispute = _registeredAs(state);
        require(dispute.phase != CONCLUDED, "already concluded");
        uint64 timeout = dispute.timeout;
        if (dispute.phase == DISPUTE && dispute.hasApp) {
            // Leave the participants of an app channel the time for a first progress.
            timeout += dispute.challengeDuration;
        }
        require(block.timestamp >= timeout, "timeout not passed yet");
        (uint256[][] memory outcome,) = _concludeTree(state, subStates, 0);
        _pushOutcome(params, state, outcome);
    }

    /// @notice Ends a channel at once with a final state that everybody signed.
    /// @dev Registered or not, and whatever version is registered: all agreed on this end.
    function concludeFinal(
        Channel.Params calldata params,
        Channel.State calldata state,
        bytes[] calldata sigs
    ) external {
        require(params.ledgerChannel, "not ledger");
        require(state.isFinal, "state not final");
        require(state.outcome.locked.length == 0, "has sub-channels");
        Channel.requireMatch(params, state);
        bytes32 stateHash = Channel.hash(state);
        Channel.requireSigned(params, stateHash, sigs);
        require(_disputes[state.channelID].phase != CONCLUDED, "concluded already");
        _store(params, state, stateHash, CONCLUDED, uint64(block.timestamp));
        _pushOutcome(params, state, state.outcome.balances);
    }

    /// @notice The id of the channel with these parameters.
    function channelID(Channel.Params calldata params) external pure returns (bytes32) {
        return Channel.id(params);
    }

    /// @notice The hash of a state, as signed and as stored in `disputes`.
    function hashState(Channel.State calldata state) external pure returns (bytes32) {
        return Channel.hash(state);
    }

    /// @notice What is known of a channel; stateHash is zero for one never registered.
    /// @dev Written out because the order of the tuple is not the order in storage.
    function disputes(bytes32 id)
        external
        view
        returns (
            uint64 timeout,
            uint64 challengeDuration,
            uint64 version,
            uint8 phase,
            bytes32 stateHash,
            bool hasApp
        )
    {
        Dispute storage dispute = _disputes[id];
        return (
            dispute.timeout,
            dispute.challengeDuration,
            dispute.version,
            dispute.phase,
            dispute.stateHash,
            dispute.hasApp
        );
    }

    /// @dev Registers the channel, then what it locks; `next` is the first child still unused.
    function _registerTree(
        SignedState calldata channel,
        SignedState[] calldata subChannels,
        uint256 next
    ) private returns (uint256) {
        _registerSingle(channel);
        Channel.Allocation calldata outcome = channel.state.outcome;
        for (uint256 i = 0; i < outcome.locked.length; i++) {
            require(
                subChannels.length - next >= outcome.locked.length - i, "subChannels too short"
            );
            Channel.SubAlloc calldata locked = outcome.locked[i];
            SignedState calldata child = subChannels[next];
            require(child.state.channelID == locked.ID, "invalid sub-channel id");
            Channel.requireEqual(outcome.assets, child.state.outcome.assets);
            Channel.requireCovers(locked, child.state.outcome);
            next = _registerTree(child, subChannels, next + 1);
        }
        return next;
    }

    function _registerSingle(SignedState calldata channel) private {
        Channel.Params calldata params = channel.params;
        Channel.State calldata state = channel.state;
        Channel.requireMatch(params, state);
        if (params.virtualChannel) {
            require(!Channel.hasApp(params), "cannot have app");
            require(state.outcome.locked.length == 0, "funds locked");
        }
        bytes32 stateHash = Channel.hash(state);
        Channel.requireSigned(params, stateHash, channel.sigs);

        Dispute storage dispute = _disputes[state.channelID];
        bytes32 known = dispute.stateHash;
        if (known == stateHash) {
            // Refuting one channel of a tree resubmits the others as they are.
            return;
        }
        uint64 timeout = _deadline(params, state);
        if (known != 0) {
            require(state.version > dispute.version, "invalid version");
            require(dispute.phase == DISPUTE, "incorrect phase");
            require(block.timestamp < dispute.timeout, "refutation timeout passed");
            if (!state.isFinal) {
                timeout = dispute.timeout;
            }
        }
        _store(params, state, stateHash, DISPUTE, timeout);
    }

    /// @dev Concludes the channel and its children, and returns the sum of their outcomes. A child
    /// in two trees (a virtual channel) is concluded by the first and counted by both.
    function _concludeTree(
        Channel.State calldata state,
        Channel.State[] calldata subStates,
        uint256 next
    ) private returns (uint256[][] memory outcome, uint256) {
        Dispute storage dispute = _registeredAs(state);
        if (dispute.phase != CONCLUDED) {
            dispute.phase = CONCLUDED;
            emit ChannelUpdate(state.channelID, dispute.version, CONCLUDED, dispute.timeout);
        }
        outcome = state.outcome.balances;
        Channel.SubAlloc[] calldata locked = state.outcome.locked;
        for (uint256 i = 0; i < locked.length; i++) {
            require(subStates.length - next >= locked.length - i, "subChannels too short");
            Channel.State calldata child = subStates[next];
            require(child.channelID == locked[i].ID, "invalid subchannel id");
            uint256[][] memory childOutcome;
            (childOutcome, next) = _concludeTree(child, subStates, next + 1);
            _add(outcome, childOutcome, locked[i].indexMap);
        }
        return (outcome, next);
    }

    /// @dev Gives each participant of the child's share to the one who stands for it above.
    function _add(
        uint256[][] memory outcome,
        uint256[][] memory childOutcome,
        uint16[] calldata indexMap
    ) private pure {
        for (uint256 a = 0; a < outcome.length; a++) {
            for (uint256 p = 0; p < childOutcome[a].length; p++) {
                outcome[a][indexMap[p]] += childOutcome[a][p];
            }
        }
    }

    /// @dev Assets of other chains are settled there; one without a holder is not an Ethereum one.
    function _pushOutcome(
        Channel.Params calldata params,
        Channel.State calldata state,
        uint256[][] memory outcome
    ) private {
        Channel.Asset[] calldata assets = state.outcome.assets;
        for (uint256 a = 0; a < assets.length; a++) {
            address holder = assets[a].ethHolder;
            if (assets[a].chainID == block.chainid && holder != address(0)) {
                AssetHolder(holder).setOutcome(state.channelID, params.participants, outcome[a]);
            }
        }
    }

    function _store(
        Channel.Params calldata params,
        Channel.State calldata state,
        bytes32 stateHash,
        uint8 phase,
        uint64 timeout
    ) private {
        _disputes[state.channelID] = Dispute({
            timeout: timeout,
            challengeDuration: uint64(params.challengeDuration),
            version: state.version,
            phase: phase,
            hasApp: Channel.hasApp(params),
            stateHash: stateHash
        });
        emit ChannelUpdate(state.channelID, state.version, phase, timeout);
    }

    /// @dev Nobody needs time to answer a final state.
    function _deadline(Channel.Params calldata params, Channel.State calldata state)
        private
        view
        returns (uint64)
    {
        uint64 timestamp = uint64(block.timestamp);
        return state.isFinal ? timestamp : timestamp + uint64(params.challengeDuration);
    }

    function _registered(bytes32 id) private view returns (Dispute storage dispute) {
        dispute = _disputes[id];
        require(dispute.stateHash != 0, "not registered");
    }

    function _registeredAs(Channel.State calldata state)
        private
        view
        returns (Dispute storage dispute)
    {
        dispute = _registered(state.channelID);
        require(dispute.stateHash == Channel.hash(state), "invalid state");
    }
}
