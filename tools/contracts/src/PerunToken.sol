// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "./IERC20.sol";

/// @title A plain token for tests and demonstrations; nobody can mint or burn.
contract PerunToken is IERC20 {
    string public constant name = "PerunToken";
    string public constant symbol = "PRN";
    uint8 public constant decimals = 18;

    uint256 public override totalSupply;
    mapping(address => uint256) private _balances;
    mapping(address => mapping(address => uint256)) private _allowances;

    /// @notice Gives every account the same start balance.
    constructor(address[] memory accounts, uint256 initBalance) {
        for (uint256 i = 0; i < accounts.length; i++) {
            totalSupply += initBalance;
            _balances[accounts[i]] += initBalance;
            emit Transfer(address(0), accounts[i], initBalance);
        }
    }

    function balanceOf(address account) external view override returns (uint256) {
        return _balances[account];
    }

    function allowance(address owner, address spender) external view override returns (uint256) {
        return _allowances[owner][spender];
    }

    function approve(address spender, uint256 amount) external override returns (bool) {
        _approve(spender, amount);
        return true;
    }

    /// @notice Unlike two calls of approve, it cannot be front-run to spend both allowances.
    function increaseAllowance(address spender, uint256 addedValue) external returns (bool) {
        _approve(spender, _allowances[msg.sender][spender] + addedValue);
        return true;
    }

    function decreaseAllowance(address spender, uint256 subtractedValue) external returns (bool) {
        uint256 current = _allowances[msg.sender][spender];
        require(current >= subtractedValue, "ERC20: decreased allowance below zero");
        _approve(spender, current - subtractedValue);
        return true;
    }

    function transfer(address recipient, uint256 amount) external override returns (bool) {
        _transfer(msg.sender, recipient, amount);
        return true;
    }

    function transferFrom(address sender, address recipient, uint256 amount)
        external
        override
        returns (bool)
    {
        uint256 allowed = _allowances[sender][msg.sender];
        require(allowed >= amount, "ERC20: transfer amount exceeds allowance");
        // By convention the largest allowance never runs out.
        if (allowed != type(uint256).max) {
            _allowances[sender][msg.sender] = allowed - amount;
        }
        _transfer(sender, recipient, amount);
        return true;
    }

    function _approve(address spender, uint256 amount) private {
        require(spender != address(0), "ERC20: approve to the zero address");
        _allowances[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
    }

    function _transfer(address sender, address recipient, uint256 amount) private {
        require(recipient != address(0), "ERC20: transfer to the zero address");
        uint256 balance = _balances[sender];
        require(balance >= amount, "ERC20: transfer amount exceeds balance");
        _balances[sender] = balance - amount;
        _balances[recipient] += amount;
        emit Transfer(sender, recipient, amount);
    }
}
