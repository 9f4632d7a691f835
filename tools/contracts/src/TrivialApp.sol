// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {App} from "./App.sol";
import {Channel} from "./Channel.sol";

/// @title An application without rules: every participant may do every valid transition.
/// @notice For tests. Do not hold money in a channel with it.
contract TrivialApp is App {
    /// @inheritdoc App
    function validTransition(
        Channel.Params calldata params,
        Channel.State calldata from,
        Channel.State calldata to,
        uint256 actorIdx
    ) external pure override {}
}
