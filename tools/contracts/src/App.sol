// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Channel} from "./Channel.sol";

/// @title The rules of a state channel application.
interface App {
    /// @notice Reverts unless participant actorIdx may move the channel from one state to the next.
    /// @dev Called only by Adjudicator.progress, which has already checked versions and funds.
    function validTransition(
        Channel.Params calldata params,
        Channel.State calldata from,
        Channel.State calldata to,
        uint256 actorIdx
    ) external pure;
}
