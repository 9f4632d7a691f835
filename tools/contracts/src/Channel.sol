// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Signature} from "./Signature.sol";

/// @title What two devices sign, in the words of the chain.
/// @notice The tuples of the second contract generation and the rules that need nothing but them.
/// @dev Everything here reads call data: a state is encoded once, to be hashed, and never copied.
library Channel {
    /// @dev A participant is an Ethereum key and, for channels that span other chains, an address
    /// there. Only the Ethereum key signs for this chain.
    struct Participant {
        address ethAddress;
        bytes ccAddress;
    }

    struct Params {
        uint256 challengeDuration;
        uint256 nonce;
        Participant[] participants;
        address app;
        bool ledgerChannel;
        bool virtualChannel;
    }

    struct State {
        bytes32 channelID;
        uint64 version;
        Allocation outcome;
        bytes appData;
        bool isFinal;
    }

    /// @dev An asset of another chain has its own chainID (the backend's number), no ethHolder,
    /// and its name there in ccHolder.
    struct Asset {
        uint256 chainID;
        address ethHolder;
        bytes ccHolder;
    }

    /// @dev balances[asset][participant]; backends names the kind of chain of each asset.
    struct Allocation {
        Asset[] assets;
        uint256[] backends;
        uint256[][] balances;
        SubAlloc[] locked;
    }

    /// @dev Money inside a child channel: per asset the sum of the child's outcome. indexMap[i]
    /// says which participant of the parent stands for participant i of the child.
    struct SubAlloc {
        // solhint-disable-next-line var-name-mixedcase
        bytes32 ID;
        uint256[] balances;
        uint16[] indexMap;
    }

    /// @notice The id of a channel commits to all its parameters.
    function id(Params calldata params) internal pure returns (bytes32) {
        return keccak256(abi.encode(params));
    }

    /// @notice What the participants sign and the adjudicator stores.
    function hash(State calldata state) internal pure returns (bytes32) {
        return keccak256(abi.encode(state));
    }

    function hasApp(Params calldata params) internal pure returns (bool) {
        return params.app != address(0);
    }

    function requireMatch(Params calldata params, State calldata state) internal pure {
        require(state.channelID == id(params), "invalid params");
    }

    /// @notice Every participant signed the state, in the order of the parameters.
    function requireSigned(Params calldata params, bytes32 stateHash, bytes[] calldata sigs)
        internal
        pure
    {
        Participant[] calldata participants = params.participants;
        require(sigs.length == participants.length, "signatures length mismatch");
        bytes32 digest = Signature.digest(stateHash);
        for (uint256 i = 0; i < sigs.length; i++) {
            requireSigner(digest, sigs[i], participants[i]);
        }
    }

    function requireSigner(bytes32 digest, bytes calldata sig, Participant calldata signer)
        internal
        pure
    {
        require(Signature.recover(digest, sig) == signer.ethAddress, "invalid signature");
    }

    /// @notice The money the parent set aside is exactly the money the child distributes.
    function requireCovers(SubAlloc calldata locked, Allocation calldata child) internal pure {
        require(locked.balances.length == child.assets.length, "uint256[]: unequal length");
        for (uint256 a = 0; a < child.assets.length; a++) {
            uint256 total = sum(child.balances[a]);
            for (uint256 i = 0; i < child.locked.length; i++) {
                total += child.locked[i].balances[a];
            }
            require(locked.balances[a] == total, "uint256[]: unequal item");
        }
    }

    /// @notice A progress may move money between participants, nothing else.
    function requireSameFunds(Allocation calldata from, Allocation calldata to, uint256 numParts)
        internal
        pure
    {
        require(from.balances.length == to.balances.length, "balances length mismatch");
        require(from.assets.length == to.assets.length, "assets length mismatch");
        requireEqual(from.assets, to.assets);
        requireEqual(from.locked, to.locked);
        for (uint256 a = 0; a < from.assets.length; a++) {
            require(from.balances[a].length == numParts, "old balances length mismatch");
            require(to.balances[a].length == numParts, "new balances length mismatch");
            require(sum(from.balances[a]) == sum(to.balances[a]), "sum of balances mismatch");
        }
    }

    function requireEqual(Asset[] calldata left, Asset[] calldata right) internal pure {
        require(left.length == right.length, "Asset[]: unequal length");
        for (uint256 i = 0; i < left.length; i++) {
            require(left[i].chainID == right[i].chainID, "unequal chainID");
            require(left[i].ethHolder == right[i].ethHolder, "unequal ethHolder");
            require(
                keccak256(left[i].ccHolder) == keccak256(right[i].ccHolder), "unequal ccHolder"
            );
        }
    }

    function requireEqual(SubAlloc[] calldata left, SubAlloc[] calldata right) internal pure {
        require(left.length == right.length, "SubAlloc[]: unequal length");
        for (uint256 i = 0; i < left.length; i++) {
            require(left[i].ID == right[i].ID, "SubAlloc: unequal ID");
            requireEqual(left[i].balances, right[i].balances);
            requireEqual(left[i].indexMap, right[i].indexMap);
        }
    }

    function requireEqual(uint256[] calldata left, uint256[] calldata right) internal pure {
        require(left.length == right.length, "uint256[]: unequal length");
        for (uint256 i = 0; i < left.length; i++) {
            require(left[i] == right[i], "uint256[]: unequal item");
        }
    }

    function requireEqual(uint16[] calldata left, uint16[] calldata right) internal pure {
        require(left.length == right.length, "uint16[]: unequal length");
        for (uint256 i = 0; i < left.length; i++) {
            require(left[i] == right[i], "uint16[]: unequal item");
        }
    }

    function sum(uint256[] calldata amounts) internal pure returns (uint256 total) {
        for (uint256 i = 0; i < amounts.length; i++) {
            total += amounts[i];
        }
    }
}
