// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Ownership} from "./libraries/Ownership.sol";
import {DealTerms} from "./types/Deals.sol";
import {POOL, AssetId} from "./types/Ids.sol";
import {Bond} from "./types/Storage.sol";

/// @notice Workers' bonds in pools.
abstract contract Bonds is BerthStorage, IRecourse {
    using Ownership for IAssets;

    /// @inheritdoc IRecourse
    function bond(AssetId pool, address worker, uint128 amount, bytes calldata enlistment) external {
        Bond storage kept = _bonds[pool][worker];
        if (kept.owner == address(0)) _enlist(kept, pool, worker, enlistment);
        require(kept.owner == msg.sender, Berth_NotBondOwner(msg.sender, kept.owner));
        uint256 bonded = uint256(kept.bonded) + amount;
        // Together, so that a release never overflows either.
        require(bonded + kept.unbonding <= type(uint96).max, Berth_BondTooLarge(bonded + kept.unbonding));

        _debit(msg.sender, amount);
        // Checked above.
        // forge-lint: disable-next-line(unsafe-typecast)
        kept.bonded = uint96(bonded);
        emit Bonded(pool, worker, amount);
    }

    /// @inheritdoc IRecourse
    function unbond(AssetId pool, address worker, uint128 amount) external {
        Bond memory kept = _bonds[pool][worker];
        require(kept.owner == msg.sender, Berth_NotBondOwner(msg.sender, kept.owner));
        require(kept.bonded >= amount, Berth_BondTooSmall(kept.bonded, amount));
        uint256 releaseAt = block.timestamp + unbondDelay();

        // `amount` is at most `bonded`; the two together never pass 2^96 - 1 (see `bond`); the delay is below 2^36.
        // forge-lint: disable-next-item(unsafe-typecast)
        (kept.bonded, kept.unbonding, kept.releaseAt) =
        (kept.bonded - uint96(amount), kept.unbonding + uint96(amount), uint40(releaseAt));
        _bonds[pool][worker] = kept;
        // forge-lint: disable-next-line(unsafe-typecast)
        emit Unbonded(pool, worker, amount, uint64(releaseAt));
    }

    /// @inheritdoc IRecourse
    function withdrawBond(AssetId pool, address worker) external {
        Bond storage kept = _bonds[pool][worker];
        require(kept.owner == msg.sender, Berth_NotBondOwner(msg.sender, kept.owner));
        uint128 amount = kept.unbonding;
        require(amount > 0, Berth_NothingUnbonding(pool, worker));
        require(block.timestamp >= kept.releaseAt, Berth_BondHeld(kept.releaseAt));

        kept.unbonding = 0;
        _credit(msg.sender, amount);
        emit BondWithdrawn(pool, worker, amount);
    }

    /// @inheritdoc IRecourse
    function bondOf(AssetId pool, address worker)
        external
        view
        returns (address owner, uint128 bonded, uint128 unbonding, uint64 releaseAt, uint32 score)
    {
        Bond memory kept = _bonds[pool][worker];
        return (kept.owner, kept.bonded, kept.unbonding, kept.releaseAt, kept.score);
    }

    /// @inheritdoc IRecourse
    function covers(DealTerms calldata terms, address worker) external view returns (bool) {
        return _coveringOwner(terms, worker, terms.punishing()) != address(0);
    }

    /// @inheritdoc IRecourse
    function unbondDelay() public view returns (uint64) {
        return MAX_SPAN + 12 * uint64(MAX_DURATION) + 1;
    }

    /// @dev Makes the sender the owner of a worker that has none, by the worker's own word.
    function _enlist(Bond storage kept, AssetId pool, address worker, bytes calldata enlistment) private {
        require(pool.kind() == POOL, Berth_WrongKind(pool, POOL));
        require(ASSETS.ownerOrNone(pool) != address(0), Berth_UnknownAsset(pool));
        bytes32 structHash = Hashing.enlistment(pool, msg.sender);
        _requireSigned(worker, MessageHashUtils.toTypedDataHash(Hashing.domainSeparator(), structHash), enlistment);
        kept.owner = msg.sender;
        emit WorkerEnlisted(pool, worker, msg.sender);
    }
}
