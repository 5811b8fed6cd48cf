// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "./interfaces/IAssets.sol";
import {IBerthBase} from "./interfaces/IBerth.sol";
import {Signing} from "./libraries/Signing.sol";
import {AssetId, DealId} from "./types/Ids.sol";
import {Account, Bond, Deal} from "./types/Storage.sol";
import {DealTerms} from "./types/Deals.sol";

/// @notice What Berth and Recourse share: the layout of Berth's storage, and the steps that both take on it.
/// @dev Recourse runs on Berth's storage, so both must see one layout: neither declares a variable of its own, and a
/// test pins both layouts to one recording.
abstract contract BerthStorage is IBerthBase {
    /// @notice What of a deal a call has in hand: read once, changed in memory, stored once.
    /// @param open how many tasks have not ended
    /// @param claimed whether the deal was claimed
    /// @param head which of the first 192 tasks have ended
    /// @param word which further word `tail` is
    /// @param tail which of that word's 256 tasks have ended
    /// @param loaded whether there is a word in `tail`
    struct Progress {
        uint256 open;
        bool claimed;
        uint256 head;
        uint256 word;
        uint256 tail;
        bool loaded;
    }

    /// @dev How many tasks fit into the deal's own word, and into each further one.
    uint256 private constant HEAD_TASKS = 192;
    uint256 private constant WORD_TASKS = 256;

    /// @dev The longest span: a hundred years. It keeps every time that this contract computes below 2^40.
    uint64 private constant MAX_SPAN_CEILING = 3_155_760_000;

    IAssets internal immutable ASSETS;
    uint32 internal immutable MIN_DURATION;
    uint32 internal immutable MAX_DURATION;
    uint64 internal immutable MAX_SPAN;

    /// @dev slot 0
    mapping(address account => Account) internal _accounts;
    /// @dev slot 1
    mapping(DealId deal => Deal) internal _deals;
    /// @dev slot 2; word w, bit b: task first + 192 + 256 * w + b has ended
    mapping(DealId deal => mapping(uint256 word => uint256 bits)) internal _ended;
    /// @dev slot 3
    mapping(bytes32 order => uint32) internal _consumed;
    /// @dev slot 4
    mapping(address signer => uint64) internal _epochs;
    /// @dev slot 5
    mapping(AssetId pool => mapping(address worker => Bond)) internal _bonds;

    constructor(IAssets assets_, uint32 minDuration, uint32 maxDuration, uint64 maxSpan) {
        require(
            minDuration > 0 && minDuration <= maxDuration && maxDuration <= maxSpan && maxSpan <= MAX_SPAN_CEILING,
            Berth_BadBounds(minDuration, maxDuration, maxSpan)
        );
        require(address(assets_).code.length > 0, Berth_NoContract(address(assets_)));
        ASSETS = assets_;
        MIN_DURATION = minDuration;
        MAX_DURATION = maxDuration;
        MAX_SPAN = maxSpan;
    }

    // Accounts. All free and locked money together is at most what the contract holds, and that was at most
    // 2^128 - 1 at the last deposit: so no sum of it overflows. The arithmetic is checked all the same.

    /// @dev Adds to an account's free money.
    function _credit(address holder, uint256 amount) internal {
        if (amount == 0) return;
        // At most 2^128 - 1: see above.
        // forge-lint: disable-next-line(unsafe-typecast)
        _accounts[holder].free += uint128(amount);
    }

    /// @dev Takes from an account's free money.
    function _debit(address holder, uint256 amount) internal {
        uint128 free = _accounts[holder].free;
        require(free >= amount, Berth_FreeTooSmall(holder, free, amount));
        // Fits, since it is at most `free`.
        // forge-lint: disable-next-line(unsafe-typecast)
        _accounts[holder].free = free - uint128(amount);
    }

    /// @dev Moves free money to locked.
    function _lock(address holder, uint256 amount) internal {
        if (amount == 0) return;
        Account memory held = _accounts[holder];
        require(held.free >= amount, Berth_FreeTooSmall(holder, held.free, amount));
        // Fits, since it is at most `free`.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint128 moved = uint128(amount);
        _accounts[holder] = Account({free: held.free - moved, locked: held.locked + moved});
    }

    /// @dev Takes `amount` from an account's locked money, and gives `back` to its free money.
    function _release(address holder, uint256 amount, uint256 back) internal {
        if (amount == 0 && back == 0) return;
        Account memory held = _accounts[holder];
        // Both are sums of what this account locked or is owed, so at most 2^128 - 1: see above.
        // forge-lint: disable-next-item(unsafe-typecast)
        _accounts[holder] = Account({free: held.free + uint128(back), locked: held.locked - uint128(amount)});
    }

    // Deals.

    /// @dev The id of the deal whose terms are the first argument of the present call. All members of the terms are
    /// static, so their encoding is the 20 words after the selector, and hashing these is hashing abi.encode(terms), at
    /// a fifth of the gas. Bits that do not belong there give an id that no deal has.
    function _calledDeal() internal pure returns (DealId) {
        return DealId.wrap(keccak256(msg.data[4:4 + 20 * 32]));
    }

    /// @dev What is kept of a known deal; its terms are then the ones that were matched.
    function _progressOf(DealId deal) internal view returns (Progress memory progress) {
        Deal memory kept = _deals[deal];
        require(kept.open != 0 || kept.ended != 0 || kept.claimed, Berth_UnknownDeal(deal));
        progress.open = kept.open;
        progress.claimed = kept.claimed;
        progress.head = kept.ended;
    }

    /// @dev Ends a task in memory, by its offset in the deal; false if it had ended before.
    function _end(DealId deal, Progress memory progress, uint256 offset) internal returns (bool) {
        if (offset < HEAD_TASKS) {
            uint256 bit = 1 << offset;
            if (progress.head & bit != 0) return false;
            progress.head |= bit;
        } else {
            uint256 word = (offset - HEAD_TASKS) / WORD_TASKS;
            if (!progress.loaded || word != progress.word) {
                if (progress.loaded) _ended[deal][progress.word] = progress.tail;
                progress.word = word;
                progress.tail = _ended[deal][word];
                progress.loaded = true;
            }
            uint256 place = (offset - HEAD_TASKS) % WORD_TASKS;
            uint256 bit = 1 << place;
            if (progress.tail & bit != 0) return false;
            progress.tail |= bit;
        }
        // Each task of the deal ends once and `open` began as their number.
        unchecked {
            progress.open--;
        }
        return true;
    }

    /// @dev Stores what a call has changed of a deal.
    function _store(DealId deal, Progress memory progress) internal {
        if (progress.loaded) _ended[deal][progress.word] = progress.tail;
        // `open` only fell since it was read from 32 bits, and `head` has 192. From the stack, it is one write.
        // forge-lint: disable-next-item(unsafe-typecast)
        (uint32 open, bool claimed, uint192 head) = (uint32(progress.open), progress.claimed, uint192(progress.head));
        _deals[deal] = Deal({open: open, claimed: claimed, ended: head});
    }

    function _hasEnded(DealId deal, uint256 offset) internal view returns (bool) {
        Deal memory kept = _deals[deal];
        if (kept.claimed) return true;
        if (offset < HEAD_TASKS) return kept.ended >> offset & 1 != 0;
        uint256 beyond = offset - HEAD_TASKS;
        return _ended[deal][beyond / WORD_TASKS] >> (beyond % WORD_TASKS) & 1 != 0;
    }

    // Bonds.

    /// @dev The owner of a worker whose bond covers the deal; zero if it does not. `by` is the deal's last punish time.
    function _coveringOwner(DealTerms calldata terms, address worker, uint256 by) internal view returns (address) {
        Bond storage kept = _bonds[terms.pool][worker];
        address owner = kept.owner;
        uint256 stake = terms.workerStake;
        uint256 bonded = kept.bonded;
        if (bonded >= stake) return owner;
        if (kept.releaseAt > by && bonded + kept.unbonding >= stake) return owner;
        return address(0);
    }

    // Signatures.

    function _requireSigned(address signer, bytes32 digest, bytes calldata signature) internal pure {
        require(Signing.isSignedBy(signer, digest, signature), Berth_BadSignature(signer, digest));
    }
}
