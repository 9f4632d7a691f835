// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AssetHolder} from "./AssetHolder.sol";

/// @title Keeps the deposits of channels in the chain's own currency.
contract AssetHolderETH is AssetHolder {
    constructor(address _adjudicator) AssetHolder(_adjudicator) {}

    /// @inheritdoc AssetHolder
    function _collect(uint256 amount) internal override {
        require(msg.value == amount, "wrong amount of ETH for deposit");
    }

    /// @inheritdoc AssetHolder
    /// @dev A receiving contract gets 2300 gas: enough to log, too little to act. A call that
    /// carries value brings this much by itself.
    function _pay(address payable receiver, uint256 amount) internal override {
        (bool paid,) = receiver.call{value: amount, gas: amount == 0 ? 2300 : 0}("");
        require(paid, "transfer failed");
    }
}
