// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Channel} from "./Channel.sol";
import {Signature} from "./Signature.sol";

/// @title Keeps the deposits of channels in one currency.
/// @notice Deposits belong to a funding id, which is a channel and a participant. The adjudicator
/// replaces them by the outcome of the channel; then everybody withdraws with a signature.
abstract contract AssetHolder {
    /// @dev What a participant signs to be paid. Nothing in it is used up by a withdrawal: it may
    /// be used again as long as there are holdings. The receiver is fixed, so that steals nothing.
    struct WithdrawalAuth {
        bytes32 channelID;
        Channel.Participant participant;
        address payable receiver;
        uint256 amount;
    }

    /// @notice Money per funding id: keccak256(abi.encode(channelID, participant's address)).
    mapping(bytes32 => uint256) public holdings;

    /// @notice Channels whose outcome is set.
    mapping(bytes32 => bool) public settled;

    /// @notice The only account that may set outcomes.
    address public immutable adjudicator;

    event OutcomeSet(bytes32 indexed channelID);
    event Deposited(bytes32 indexed fundingID, uint256 amount);
    event Withdrawn(bytes32 indexed fundingID, uint256 amount, address receiver);

    constructor(address _adjudicator) {
        adjudicator = _adjudicator;
    }

    /// @notice Pays into a channel for a participant; anybody may.
    function deposit(bytes32 fundingID, uint256 amount) external payable {
        // Credit follows the money: whatever a token does meanwhile, it finds nothing to take.
        _collect(amount);
        holdings[fundingID] += amount;
        emit Deposited(fundingID, amount);
    }

    /// @notice Distributes what the channel holds. Called by the adjudicator, once per channel.
    /// @dev Too little money: everybody keeps the own deposit. Too much: the rest is lost.
    function setOutcome(
        bytes32 channelID,
        Channel.Participant[] calldata parts,
        uint256[] calldata newBals
    ) external {
        require(msg.sender == adjudicator, "can only be called by the adjudicator");
        require(parts.length == newBals.length, "participants length should equal balances");
        require(!settled[channelID], "trying to set already settled channel");
        settled[channelID] = true;

        // Somebody may have paid to the channel as a whole.
        uint256 held = holdings[channelID];
        if (held != 0) {
            holdings[channelID] = 0;
        }
        uint256 needed = 0;
        bytes32[] memory ids = new bytes32[](parts.length);
        for (uint256 i = 0; i < parts.length; i++) {
            bytes32 id = _fundingID(channelID, parts[i].ethAddress);
            // A participant listed twice has still paid only once. Counting the deposit twice
            // would pay with the money of other channels.
            if (!_contains(ids, i, id)) {
                held += holdings[id];
            }
            ids[i] = id;
            needed += newBals[i];
        }
        if (held >= needed) {
            for (uint256 i = 0; i < parts.length; i++) {
                holdings[ids[i]] = newBals[i];
            }
        }
        emit OutcomeSet(channelID);
    }

    /// @notice Pays a participant's money, or a part of it, to the receiver that the participant
    /// named. Anybody may bring the authorization.
    function withdraw(WithdrawalAuth calldata authorization, bytes calldata signature) external {
        require(settled[authorization.channelID], "channel not settled");
        address owner = authorization.participant.ethAddress;
        bytes32 digest = Signature.digest(keccak256(abi.encode(authorization)));
        require(
            Signature.recover(digest, signature) == owner, "signature verification failed"
        );
        bytes32 id = _fundingID(authorization.channelID, owner);
        uint256 held = holdings[id];
        uint256 amount = authorization.amount;
        require(held >= amount, "insufficient funds");
        unchecked {
            holdings[id] = held - amount;
        }
        _pay(authorization.receiver, amount);
        emit Withdrawn(id, amount, authorization.receiver);
    }

    /// @dev Takes the amount from the caller or reverts.
    function _collect(uint256 amount) internal virtual;

    /// @dev Pays the amount to the receiver or reverts. Holdings are already reduced.
    function _pay(address payable receiver, uint256 amount) internal virtual;

    function _fundingID(bytes32 channelID, address participant) private pure returns (bytes32) {
        return keccak256(abi.encode(channelID, participant));
    }

    function _contains(bytes32[] memory ids, uint256 count, bytes32 id)
        private
        pure
        returns (bool)
    {
        for (uint256 i = 0; i < count; i++) {
            if (ids[i] == id) {
                return true;
            }
        }
        return false;
    }
}
