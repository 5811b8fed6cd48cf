// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AssetId, DealId, RecordId, RoundId, TaskId} from "../types/Ids.sol";
import {DealSubject, DealTerms} from "../types/Deals.sol";
import {ClosedWord, Pair} from "../types/Rounds.sol";
import {Rule} from "../types/Rule.sol";

/// @notice What Berth and Recourse may say: every event and every error of either.
interface IBerthBase {
    // Accounts

    /// @notice `from` paid tokens in; `amount` is what arrived.
    event Deposited(address indexed account, address indexed from, uint256 amount);
    /// @notice `account` took tokens out.
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    // Orders and deals

    /// @notice All orders of `account` of an earlier epoch are cancelled.
    event EpochRaised(address indexed account, uint64 epoch);
    /// @notice `account` stands for the order (or sponsorship) of this digest, as if it had signed it.
    event OrderApproved(address indexed account, bytes32 indexed order);
    /// @notice Whatever `account` has signed or approved of this order (or sponsorship) is worth nothing from now on.
    event OrderCancelled(address indexed account, bytes32 indexed order);
    /// @notice Four orders became a deal of `terms.size` tasks. The payer's price and the pool owner's stake, each
    /// times the size, went from free to locked. Keep the terms: all later calls need them.
    event DealMatched(
        DealId indexed deal, AssetId indexed pool, address indexed requester, DealTerms terms, DealSubject subject
    );
    /// @notice The deal's payer did not send the match, but had agreed to it: its sponsorship is used up.
    event DealSponsored(DealId indexed deal, address indexed payer, bytes32 sponsorship);
    /// @notice Tasks of a single-worker deal ended. Each entry (`uint32 index, bytes32 digest`, packed, 36 bytes) is
    /// one that ended now; a digest below 2^8 is a failure. With the terms and the worker's owner this tells every
    /// balance that moved (ADR 0001, section 3, money).
    event SinglesSettled(DealId indexed deal, address indexed worker, bytes entries);
    /// @notice A list was left out of a settlement, since its worker's bond does not cover the deal.
    event ListSkipped(DealId indexed deal, address indexed worker);
    /// @notice The operator gave tasks back: their price went back to the payer, their stake back to the pool's owner,
    /// or, if it was late, was burnt.
    event TasksDeclined(DealId indexed deal, uint32[] indexes, bool stakeReturned);
    /// @notice Whatever was still open after the final deadline ended: the price of these tasks went back to the
    /// payer, their stake was burnt.
    event DealClaimed(DealId indexed deal, uint32 tasks);

    // Rounds

    /// @notice An operator closed a round: from now on these tasks settle by the leaves under `root`, and by no others.
    /// @param closed the tasks, in the order of the leaves
    event RoundClosed(RoundId indexed round, address indexed operator, bytes32 root, ClosedWord[] closed);
    /// @notice Pairs were added to a task's chain.
    /// @param chain the chain's hash with them
    /// @param pairs how many it has now, those of the leaf included
    event PairsAppended(DealId indexed deal, uint32 indexed index, bytes32 chain, uint8 pairs, Pair[] added);
    /// @notice Replicated tasks ended (ADR 0003, section 5 has the packed forms).
    /// @param round zero for a task that was never closed
    /// @param tasks the ones that ended now: `uint32 index, bytes32 digest, uint8 n`, n pairs of one byte: the worker's
    /// rank in `workers`, plus 0x80 if it was paid
    /// @param workers `address worker, uint128 paid, uint32 scored` each, netted over the batch
    /// @param leftOut the record that is kept for `open` and `punish`: 91 bytes for each pair that did not open
    event TasksSettled(DealId indexed deal, RoundId indexed round, bytes tasks, bytes workers, bytes leftOut);
    /// @notice A worker's reveal, for anybody to settle with.
    event RevealPublished(bytes32 indexed root, address indexed worker, bytes32 seed, bytes signature);
    /// @notice A pair that a settlement left out was opened: `paid` went to the worker's owner.
    event ShareOpened(DealId indexed deal, uint32 indexed index, address indexed worker, uint128 paid, bool scored);
    /// @notice A pair that a worker signed was never opened: `slashed` of its bond is burnt, `score` is left to it.
    event WorkerPunished(
        DealId indexed deal, uint32 indexed index, address indexed worker, uint128 slashed, uint32 score
    );

    // Deliveries

    /// @notice The callback of a deal has received a task's result.
    event ResultDelivered(DealId indexed deal, uint32 indexed index, address indexed callback);

    // Bonds

    /// @notice A worker has an owner in this pool, for ever.
    event WorkerEnlisted(AssetId indexed pool, address indexed worker, address indexed owner);
    /// @notice The owner put `amount` of its free money behind the worker.
    event Bonded(AssetId indexed pool, address indexed worker, uint128 amount);
    /// @notice `amount` more is on its way back; all that is on its way may be withdrawn from `releaseAt` on.
    event Unbonded(AssetId indexed pool, address indexed worker, uint128 amount, uint64 releaseAt);
    /// @notice All that was on its way is in the owner's free money again.
    event BondWithdrawn(AssetId indexed pool, address indexed worker, uint128 amount);

    // Errors of accounts

    /// @notice The account has less free money than this needs.
    error Berth_FreeTooSmall(address account, uint256 free, uint256 needed);
    /// @notice Nobody could ever use what is sent there.
    error Berth_BadRecipient(address recipient);
    /// @notice The contract would hold more than 2^128 - 1 base units.
    error Berth_HeldTooLarge(uint256 held);

    // Errors of construction

    /// @notice 0 < minDuration <= maxDuration <= maxSpan does not hold, or maxSpan is no time span.
    error Berth_BadBounds(uint32 minDuration, uint32 maxDuration, uint64 maxSpan);
    /// @notice There is no contract at this address.
    error Berth_NoContract(address at);
    /// @notice Recourse was built for other assets or bounds.
    error Berth_RecourseMismatch(address recourse);

    // Errors of a match

    /// @notice An order names an asset of another kind than it has to.
    error Berth_WrongKind(AssetId asset, uint8 wanted);
    /// @notice There is no such asset.
    error Berth_UnknownAsset(AssetId asset);
    /// @notice The request asks for another asset.
    error Berth_AssetMismatch(AssetId asked, AssetId offered);
    /// @notice The request pays less than the asset asks, per task.
    error Berth_PriceTooHigh(AssetId asset, uint128 price, uint128 maxPrice);
    /// @notice The pool does not offer these bits that app, dataset or request need.
    error Berth_TagMissing(bytes32 missing);
    /// @notice The request asks for a duration that the pool, or the contract, does not allow.
    error Berth_DurationOutOfBounds(uint32 duration, uint32 min, uint32 max);
    /// @notice The request asks for more trust than the pool gives.
    error Berth_TrustTooHigh(uint32 trust, uint32 maxTrust);
    /// @notice The operator's share is more than the whole.
    error Berth_ShareTooLarge(uint16 operatorShareBps);
    /// @notice The pool runs no task at all.
    error Berth_NothingParallel(AssetId pool);
    /// @notice A request's volume must be at least 1 and finite.
    error Berth_BadVolume(uint32 volume);
    /// @notice A request must say which pools it trusts.
    error Berth_AnyPool(address requester);
    /// @notice A rule of one order refuses the other side.
    error Berth_RuleRefused(Rule rule, AssetId asset, address account);
    /// @notice The order was good until `expiry`.
    error Berth_OrderExpired(bytes32 order, uint64 expiry);
    /// @notice The order is of an epoch that its signer has left.
    error Berth_OrderCancelled(bytes32 order, uint64 epoch, uint64 current);
    /// @notice Nothing is left of the order's volume.
    error Berth_OrderConsumed(bytes32 order);
    /// @notice Its signer has cancelled this one order.
    error Berth_OrderRevoked(bytes32 order, address signer);
    /// @notice There is no signature, and `signer` has not approved the order on chain.
    error Berth_NotApproved(bytes32 order, address signer);
    /// @notice The signature is not that of `signer` over `digest`, in 65 bytes with a low s; for an order also: nor in
    /// 64 bytes, nor one that the contract at `signer` takes for good.
    error Berth_BadSignature(address signer, bytes32 digest);
    /// @notice A payer other than the requester has to send the match itself, or to sign a sponsorship for
    /// `matchSponsored`.
    error Berth_PayerAbsent(address payer, address sender);
    /// @notice The sponsor pays for a match of exactly `volume` tasks, and this one would be of `size`.
    error Berth_SponsoredVolume(uint32 size, uint32 volume);
    /// @notice The pool would take longer for so many tasks than the contract allows.
    error Berth_SpanTooLong(uint256 span, uint256 maxSpan);
    /// @notice An epoch only rises.
    error Berth_EpochNotRaised(uint64 current, uint64 given);

    // Errors of deals

    /// @notice No deal with these terms was ever matched.
    error Berth_UnknownDeal(DealId deal);
    /// @notice This was possible until `deadline`.
    error Berth_TooLate(uint256 deadline);
    /// @notice This is possible once `deadline` is over.
    error Berth_TooEarly(uint256 deadline);
    /// @notice A deal of this trust is not settled by lists of single workers.
    error Berth_NotSingle(uint32 trust);
    /// @notice The deal has no task of this index.
    error Berth_IndexOutside(uint256 index, uint256 first, uint256 size);
    /// @notice Indexes of a list must rise.
    error Berth_IndexNotAscending(uint256 previous, uint256 index);
    /// @notice A digest of zero is no result.
    error Berth_NoDigest(uint256 index);
    /// @notice A list has 1 to 256 entries of 36 bytes.
    error Berth_BadListLength(uint256 length);
    /// @notice More items than one call may have.
    error Berth_BatchTooLarge(uint256 items, uint256 max);
    /// @notice Without the operator as sender, each entry needs its assignment, 65 bytes.
    error Berth_BadAssignmentsLength(uint256 length, uint256 needed);
    /// @notice Only the deal's operator may do this.
    error Berth_NotOperator(address sender, address operator);
    /// @notice All tasks of the deal have ended.
    error Berth_NothingOpen(DealId deal);

    // Errors of rounds

    /// @notice A deal of this trust has no rounds: its tasks are settled by lists of single workers.
    error Berth_NotReplicated(uint32 trust);
    /// @notice A round is one to 64 words with bits of tasks that the deal has, rising within a deal.
    error Berth_BadBits(DealId deal, uint32 word, uint104 bits);
    /// @notice These tasks are closed, or have ended, already.
    error Berth_AlreadyClosed(DealId deal, uint32 word, uint104 bits);
    /// @notice This operator has closed no such round.
    error Berth_UnknownRound(RoundId round);
    /// @notice The round that is shown did not close this task.
    error Berth_NotInRound(uint256 index);
    /// @notice The task was closed, so it settles from its round alone.
    error Berth_TaskClosed(uint256 index);
    /// @notice The task has ended.
    error Berth_TaskEnded(uint256 index);
    /// @notice The leaves that are shown give another root.
    error Berth_RootMismatch(bytes32 root, bytes32 shown);
    /// @notice The pairs that are shown give another chain than the one that is kept.
    error Berth_ChainMismatch(bytes32 kept, bytes32 shown);
    /// @notice A task has 1 to 64 pairs, and an append at least one more.
    error Berth_BadPairCount(uint256 index, uint256 pairs);
    /// @notice The workers of a leaf, and of a table, must rise.
    error Berth_WorkerNotAscending(address previous, address worker);
    /// @notice The packed tasks end in the middle of one, or there is none.
    error Berth_BadTasksLength(uint256 length);
    /// @notice A pair's byte names no worker of the table, or does not rise.
    error Berth_BadRank(uint256 index, uint256 rank);
    /// @notice The table has no reveal of a worker whose pair is said to open.
    error Berth_NotRevealed(uint256 index, address worker);
    /// @notice The pairs that open do not outweigh the others far enough.
    error Berth_TooLittleWeight(uint256 index, uint256 group, uint256 dissent, uint32 trust);
    /// @notice No settlement left such pairs out.
    error Berth_UnknownRecord(RecordId record);
    /// @notice The record has no such entry.
    error Berth_BadEntry(uint256 entry, uint256 entries);
    /// @notice This salt does not open the entry to the settled digest.
    error Berth_WrongSalt(uint256 entry);

    // Errors of deliveries

    /// @notice No callback waits for this task's result: its deal names none or is unknown, the task is not settled, or
    /// to a failure, or its result was delivered.
    error Berth_NothingDue(TaskId task);
    /// @notice The task was settled to `digest`; this manifest and these bytes are `shown`.
    error Berth_WrongResult(bytes32 digest, bytes32 shown);
    /// @notice Neither Berth itself nor Assets nor the token is ever called with a result.
    error Berth_BadCallback(address callback);
    /// @notice There is so little gas left before the callback, which has a right to 200,000.
    error Berth_GasTooLow(uint256 left, uint256 needed);
    /// @notice The callback reverted, or used up its gas. Nothing has happened; it may be tried again.
    error Berth_CallbackFailed(address callback);

    // Errors of bonds

    /// @notice The worker of this pool belongs to somebody else, or to nobody.
    error Berth_NotBondOwner(address sender, address owner);
    /// @notice Less is bonded than this takes away.
    error Berth_BondTooSmall(uint256 bonded, uint256 needed);
    /// @notice A bond holds at most 2^96 - 1 base units.
    error Berth_BondTooLarge(uint256 bond);
    /// @notice What is unbonding is not released yet.
    error Berth_BondHeld(uint64 releaseAt);
    /// @notice Nothing is unbonding.
    error Berth_NothingUnbonding(AssetId pool, address worker);
}
