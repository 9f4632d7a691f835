// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AssetHolder} from "./AssetHolder.sol";
import {IERC20} from "./IERC20.sol";

/// @title Keeps the deposits of channels in one ERC-20 token.
contract AssetHolderERC20 is AssetHolder {
    IERC20 public immutable token;

    constructor(address _adjudicator, address _token) AssetHolder(_adjudicator) {
        token = IERC20(_token);
    }

    /// @inheritdoc AssetHolder
    /// @dev The caller has approved this contract before.
    function _collect(uint256 amount) internal override {
        require(msg.value == 0, "message value must be 0 for token deposit");
        require(token.transferFrom(msg.sender, address(this), amount), "transferFrom failed");
    }

    /// @inheritdoc AssetHolder
    function _pay(address payable receiver, uint256 amount) internal override {
        require(token.transfer(receiver, amount), "transfer failed");
    }
}
