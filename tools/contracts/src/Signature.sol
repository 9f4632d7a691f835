// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Strict recovery of the signer of a 32 byte hash.
/// @notice Accepts exactly two forms: r, s, v with v 27 or 28 (65 bytes), and the compact form of
/// EIP-2098 (64 bytes), both with s in the lower half of the group order. So nobody can turn a
/// signature into another valid one, and clients know which bytes the chain takes.
library Signature {
    /// @dev Half of the order of secp256k1, rounded down.
    uint256 private constant HALF_ORDER =
        0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The digest a wallet signs for a hash: prefixed, so that it is never a transaction.
    function digest(bytes32 dataHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("\x19Ethereum Signed Message:\n32", dataHash));
    }

    /// @return signer Who signed; never the zero address.
    function recover(bytes32 digest_, bytes calldata sig) internal pure returns (address signer) {
        bytes32 r;
        uint256 s;
        uint8 v;
        if (sig.length == 65) {
            r = bytes32(sig[:32]);
            s = uint256(bytes32(sig[32:64]));
            v = uint8(sig[64]);
        } else if (sig.length == 64) {
            r = bytes32(sig[:32]);
            // The top bit of s is free as s is low: it carries the parity of v.
            s = uint256(bytes32(sig[32:])) & (type(uint256).max >> 1);
            v = 27 + (uint8(sig[32]) >> 7);
        } else {
            revert("ECDSA: invalid signature length");
        }
        require(s <= HALF_ORDER, "ECDSA: invalid signature 's' value");
        require(v == 27 || v == 28, "ECDSA: invalid signature 'v' value");
        signer = ecrecover(digest_, v, r, bytes32(s));
        require(signer != address(0), "ECDSA: invalid signature");
    }
}
