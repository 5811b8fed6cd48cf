// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
// Whoever imports the manual gets the events and errors with it.
import {IBerthBase} from "./IBerthBase.sol";
import {AssetId, DealId, RecordId, RoundId} from "../types/Ids.sol";
import {Consent, Orders, Signatures} from "../types/Orders.sol";
import {DealTerms, WorkerResults} from "../types/Deals.sol";
import {Closing, Contribution, Evidence, Opening, Pair, Reveal, Round} from "../types/Rounds.sol";
import {Deal, Stance} from "../types/Storage.sol";

/// @notice What Berth does itself: match and settlement, and the views of deals.
interface IBerthDirect is IBerthBase, IERC5267 {
    /// @notice Makes a deal of four orders, for as many tasks as the smallest of what is left of their volumes.
    /// @dev Anyone may send it, unless the payer is neither the requester nor the sender.
    ///
    /// Requires: each order unexpired, of its signer's epoch or later, not cancelled, not consumed, and signed by the
    /// owner of its asset (the request by its requester): by the key itself in 65 bytes, or in 64 (ERC-2098), with a low
    /// s; or else, if the signer has code, by what its `isValidSignature` takes for good (ERC-1271); or with no bytes at
    /// all, and an `approveOrder` of the signer. Assets of the right kinds, registered, and the ones that
    /// the request asks for; prices, tag, trust and duration within bounds; all rules satisfied, and the request's
    /// rule for pools not "anyone"; parallel >= 1; operatorShareBps <= 10,000; the deal's span at most maxSpan; free
    /// money of the payer for (appPrice + datasetPrice + poolPrice) * size, and of the pool's owner for
    /// poolStake * size. A dataset order whose dataset is zero stands for none, and nothing of it is looked at.
    ///
    /// Changes: consumed volumes; both accounts from free to locked; the deal's word. Emits: DealMatched.
    ///
    /// Contracts that orders name as rules, or that sign, are asked by staticcall with at most 1,000,000 gas, and at most
    /// one word of their answer is read.
    ///
    /// Reverts: Berth_WrongKind, Berth_AssetMismatch, Berth_PriceTooHigh, Berth_TagMissing, Berth_TrustTooHigh,
    /// Berth_DurationOutOfBounds, Berth_ShareTooLarge, Berth_NothingParallel, Berth_BadVolume, Berth_AnyPool,
    /// Berth_PayerAbsent, Berth_UnknownAsset, Berth_RuleRefused, Berth_OrderExpired, Berth_OrderCancelled,
    /// Berth_OrderRevoked, Berth_NotApproved, Berth_BadSignature, Berth_OrderConsumed, Berth_SpanTooLong,
    /// Berth_FreeTooSmall.
    ///
    /// Warning: signed orders are public once published, and anybody may match them with whatever fits. What an order
    /// does not want it has to refuse by its rules, its epoch and its expiry.
    /// Warning: ownership of an asset is read at the match; an order of a former owner is worth nothing.
    /// Warning: a contract that an order names, or that signs it, may answer otherwise in the block than before it, and
    /// so cost whoever sends the match its gas: whoever sends matches for others simulates them first, and bears that.
    function matchOrders(Orders calldata orders, Signatures calldata signatures) external returns (DealId deal);

    /// @notice As `matchOrders`, by anyone, at the cost of a payer that has agreed to this one match.
    /// @dev Requires besides: the payer's signature, of the forms that an order's has, over Sponsorship(request,
    /// poolOrder, volume, expiry) with the digests of these orders; in time; not cancelled; not used before; and a size of
    /// exactly its volume, so that nobody can spend it on another match. Changes besides: the sponsorship is used up (its
    /// digest counts as consumed). Emits besides: DealSponsored.
    /// Reverts also: Berth_SponsoredVolume; for the sponsorship as for an order: Berth_OrderExpired,
    /// Berth_OrderRevoked, Berth_NotApproved, Berth_BadSignature, Berth_OrderConsumed.
    ///
    /// Warning: a sponsorship has no epoch: it ends by its expiry, its use, or `cancelOrder` of its digest.
    function matchSponsored(Orders calldata orders, Signatures calldata signatures, Consent calldata consent)
        external
        returns (DealId deal);

    /// @notice Settles tasks of a single-worker deal (trust 0 or 1) from workers' signed lists, until the final
    /// deadline (start + S + 9T).
    /// @dev Requires: a known deal; at most 256 lists, each of 1 to 256 entries with strictly ascending indexes within
    /// the deal, no digest zero, signed by its worker. From anyone but the operator also, for each entry, the
    /// operator's signed assignment.
    ///
    /// Changes: for each entry whose task is open: it ends, and app, dataset and pool owner, the worker's owner and
    /// the payer get what ADR 0001, section 3 says. Emits: SinglesSettled for each list of which something was
    /// settled, ListSkipped for each whose worker's bond does not cover the deal.
    ///
    /// Reverts: Berth_NotSingle, Berth_UnknownDeal, Berth_TooLate, Berth_BatchTooLarge, Berth_BadListLength,
    /// Berth_BadSignature, Berth_BadAssignmentsLength, Berth_IndexOutside, Berth_IndexNotAscending, Berth_NoDigest.
    /// An entry whose task has ended is skipped without a word, so that nobody can stop a batch by settling a part of
    /// it first.
    ///
    /// Warning: of two lists that answer one task, the first to arrive is paid. The operator decides, by assigning.
    function settleSingles(DealTerms calldata terms, WorkerResults[] calldata results) external;

    /// @notice Closes a round: fixes what may be paid for its tasks, until the deals' close deadline (start + S + 6T).
    /// @dev Requires, deal by deal: known; the sender is its operator; trust of at least 2; word by word: rising, some
    /// bits, all within the size, none closed or ended. Changes: the closed bits; the round's word.
    /// Emits: RoundClosed. Reverts: Berth_UnknownDeal, Berth_NotOperator, Berth_NotReplicated, Berth_TooLate,
    /// Berth_BadBits, Berth_AlreadyClosed, Berth_BatchTooLarge.
    ///
    /// Warning: the root is not looked at. A worker reveals only after it has found its commitments under it.
    function close(bytes32 root, Closing[] calldata deals) external returns (RoundId round);

    /// @notice Settles tasks of one deal from one of its rounds, until the final deadline (start + S + 9T). Anyone may.
    /// @dev Requires: a deal of trust 2 or more; the round that closed the tasks; reveals signed by their workers; all
    /// that ADR 0003, section 3 says of the packed tasks; the root over the shown leaves and `proof`.
    ///
    /// Changes: each task that is open and whose opened pairs outweigh the rest ends; app, dataset and pool owner, the
    /// owners of workers that opened, and the payer get what ADR 0003, section 4 says; scores rise; a record of the
    /// pairs that did not open is kept. Emits: TasksSettled, if any task ended.
    ///
    /// Reverts: Berth_NotReplicated, Berth_UnknownDeal, Berth_TooLate, Berth_UnknownRound, Berth_BatchTooLarge,
    /// Berth_WorkerNotAscending, Berth_BadSignature, Berth_BadTasksLength, Berth_IndexOutside, Berth_NotInRound,
    /// Berth_IndexNotAscending, Berth_NoDigest, Berth_BadPairCount, Berth_BadRank, Berth_NotRevealed,
    /// Berth_RootMismatch. A task that has ended, or whose pairs do not suffice, is skipped without a word.
    ///
    /// Warning: a pair that is not opened here is not paid here. Its worker has until start + S + 10T to open it.
    function settle(
        DealTerms calldata terms,
        Round calldata round,
        Reveal[] calldata workers,
        bytes calldata tasks,
        bytes32[] calldata proof
    ) external;

    /// @notice Whether the contract takes this for the account's word over an order, or a sponsorship, of this digest: a
    /// signature as `matchOrders` wants it, or none and an approval on chain; and not cancelled one by one.
    /// @dev Expiry, epoch and volume are not looked at: the digest does not tell them.
    function isOrderSigned(address signer, bytes32 order, bytes calldata signature) external view returns (bool);

    /// @notice The word that is kept of a deal; all zero for a deal that never was.
    function dealState(DealId deal) external view returns (Deal memory);

    /// @notice Whether a task has ended: settled, declined or claimed.
    /// @param offset the task's place in the deal, counted from 0: its index less the deal's `first`
    /// @dev Warning: the contract does not know a deal's size, so an offset outside it gets an answer, too.
    function ended(DealId deal, uint256 offset) external view returns (bool);

    /// @notice Whether a round has closed a task, by its place in the deal.
    function closed(DealId deal, uint256 offset) external view returns (bool);

    /// @notice Whether there is such a round.
    function isRound(RoundId round) external view returns (bool);

    /// @notice The EIP-712 domain separator of everything signed for this contract.
    function domainSeparator() external view returns (bytes32);

    /// @notice The token that everything is paid in.
    function token() external view returns (address);

    /// @notice The contract that runs all that this does not run itself, in this one's name.
    function recourse() external view returns (address);
}

/// @notice What Berth hands on to Recourse: accounts, what is said of orders on chain, bonds, decline and claim, the slow
/// path of rounds, deliveries, and all other views.
interface IRecourse is IBerthBase {
    /// @notice Pays tokens of the sender into the sender's account.
    /// @dev Requires: an allowance of the sender for this contract. Changes: free += what arrived. Emits: Deposited.
    /// Reverts: Berth_HeldTooLarge, and whatever the token says.
    ///
    /// Assumptions on the token: ERC-20; balances change only by transfers and only by the amounts that arrive (fees
    /// on transfer are fine, rebasing is not: what it takes away would be missing for everybody); its supply is below
    /// 2^128, or else whoever holds that much can stop deposits, but nothing else.
    ///
    /// Warning: whoever can freeze or seize the token can freeze or seize what is held here.
    function deposit(uint256 amount) external;

    /// @notice Pays tokens of the sender into the account of another.
    /// @dev As `deposit`; reverts also with Berth_BadRecipient for the zero address.
    function depositFor(address account_, uint256 amount) external;

    /// @notice As `deposit`, with an ERC-2612 permit of the sender for exactly `amount`.
    /// @dev A permit that fails is passed over: somebody may have shown it to the token before, which leaves the very
    /// allowance that is needed. If there is none, the token refuses the transfer.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Takes tokens out of the sender's account.
    /// @dev Requires: free >= amount; `to` neither zero nor this contract. Changes: free -= amount. Emits: Withdrawn.
    /// Reverts: Berth_FreeTooSmall, Berth_BadRecipient, and whatever the token says.
    function withdraw(address to, uint256 amount) external;

    /// @notice Makes several calls to this contract in one transaction, each as the sender: all of them, or none.
    /// @dev Nothing of this contract takes ether, so none is counted twice. Reverts: with what the first call that
    /// reverts says. `deposit` or `depositWithPermit` and then `matchOrders` is a deal paid for from the wallet at once.
    ///
    /// Warning: a call by another contract with bytes that it did not make itself can be any call.
    /// @param calls each the calldata of one call
    /// @return results what each returned
    function multicall(bytes[] calldata calls) external returns (bytes[] memory results);

    /// @notice Stands for an order on chain, as if the sender had signed it: a match gives an empty signature then.
    /// @dev For whoever can't sign: a contract without ERC-1271, or an owner that is voted on. Counts for nobody but the
    /// sender: a match asks whoever owns the asset then (the requester for a request, the payer for a sponsorship), so
    /// what a former owner approved is worth nothing. Expiry, epoch and volume stay what they are.
    /// Requires: not cancelled by the sender. Changes: the sender's stance. Emits: OrderApproved.
    /// Reverts: Berth_OrderRevoked.
    ///
    /// Warning: the contract sees a digest only; whoever approves computes it from the order itself (EIP-712).
    function approveOrder(bytes32 order) external;

    /// @notice Cancels one order of the sender, or one sponsorship, by its digest, whether or not it was ever shown.
    /// For ever: a salt is for one order only.
    /// @dev Counts for nobody but the sender, as `approveOrder`. What was matched before stays. Changes: the sender's
    /// stance. Emits: OrderCancelled.
    ///
    /// Warning: from the first one on each match of an order of this account takes one storage read more; `raiseEpoch`
    /// does not.
    function cancelOrder(bytes32 order) external;

    /// @notice Cancels all orders of the sender that name an earlier epoch.
    /// @dev Requires: epoch above the present one. Emits: EpochRaised. Reverts: Berth_EpochNotRaised.
    function raiseEpoch(uint64 epoch) external;

    /// @notice Puts free money of the sender behind a worker of a pool.
    /// @dev The first bond names the owner for ever, and so needs the worker's own word: its signature over
    /// Enlistment(pool, owner). Later ones are the owner's alone; their `enlistment` is not looked at. An amount of
    /// zero enlists a worker for a pool that asks for no stake.
    ///
    /// Requires: a registered pool; owner or, at first, the worker's signature; free >= amount.
    /// Changes: free -= amount, bonded += amount. Emits: WorkerEnlisted (first), Bonded.
    /// Reverts: Berth_WrongKind, Berth_UnknownAsset, Berth_BadSignature, Berth_NotBondOwner,
    /// Berth_FreeTooSmall, Berth_BondTooLarge.
    ///
    /// Warning: a bond answers for everything that the worker's key signs in this pool.
    function bond(AssetId pool, address worker, uint128 amount, bytes calldata enlistment) external;

    /// @notice Starts to take money back from behind a worker.
    /// @dev Requires: owner; bonded >= amount. Changes: bonded -= amount, unbonding += amount, releaseAt = now +
    /// unbondDelay(). Emits: Unbonded. Reverts: Berth_NotBondOwner, Berth_BondTooSmall.
    ///
    /// Warning: there is one release time a worker: unbonding more puts off what is on its way already.
    function unbond(AssetId pool, address worker, uint128 amount) external;

    /// @notice Brings all that is released back into the owner's free money.
    /// @dev Requires: owner; something unbonding; now >= releaseAt. Changes: free += unbonding, unbonding = 0.
    /// Emits: BondWithdrawn. Reverts: Berth_NotBondOwner, Berth_NothingUnbonding, Berth_BondHeld.
    function withdrawBond(AssetId pool, address worker) external;

    /// @notice Gives tasks back unworked, until the close deadline (start + S + 6T).
    /// @dev Requires: the deal's operator; at most 256 indexes, each within the deal. One that a round has closed, that
    /// has ended, or that is given twice, is skipped. Changes: the price of each goes back to the payer's free money;
    /// its stake to that of the pool's owner until start + T, and is burnt later. Emits: TasksDeclined, if any task
    /// ended.
    /// Reverts: Berth_NotOperator, Berth_UnknownDeal, Berth_TooLate, Berth_BatchTooLarge, Berth_IndexOutside.
    function decline(DealTerms calldata terms, uint32[] calldata indexes) external;

    /// @notice Ends whatever of a deal is open after its final deadline (start + S + 9T). Anyone may.
    /// @dev Requires: a known deal with open tasks; the final deadline over. Changes: the payer gets back the price of
    /// the open tasks, the pool's stake for them is burnt: it stays here for ever, counted nowhere.
    /// Emits: DealClaimed. Reverts: Berth_UnknownDeal, Berth_NothingOpen, Berth_TooEarly.
    function claim(DealTerms calldata terms) external;

    /// @notice Adds pairs to a closed task that falls short, by the operator until the close deadline.
    /// @dev The first append shows the leaf's pairs and their proof; for later ones, round, leaf and proof are not
    /// looked at. Requires: a deal of trust 2 or more; its operator; an open task of it; (first) the round that closed
    /// it; 1 to 64 pairs in all. Changes: the task's chain. Emits: PairsAppended.
    /// Reverts: Berth_UnknownDeal, Berth_NotOperator, Berth_NotReplicated, Berth_IndexOutside, Berth_TooLate,
    /// Berth_TaskEnded, Berth_UnknownRound, Berth_NotInRound, Berth_BadPairCount, Berth_WorkerNotAscending,
    /// Berth_RootMismatch.
    ///
    /// Warning: a pair that is appended is paid only where the leaf alone, as opened, falls short.
    function append(
        DealTerms calldata terms,
        uint32 index,
        Round calldata round,
        Pair[] calldata leaf,
        bytes32[] calldata proof,
        Pair[] calldata added
    ) external;

    /// @notice Adds an assigned worker's pair to a task that was never closed, in the T after the close deadline. Anyone
    /// may. For workers whose operator has gone.
    /// @dev Requires: a deal of trust 2 or more; a task of it that is neither closed nor ended, with fewer than 64
    /// pairs; the operator's signature over Assignment(task, worker); the worker's over Commitment(task, commitment).
    /// Changes: the task's chain. Emits: PairsAppended. Reverts: Berth_UnknownDeal, Berth_NotReplicated,
    /// Berth_IndexOutside, Berth_TooEarly, Berth_TooLate, Berth_TaskEnded, Berth_TaskClosed, Berth_BadPairCount,
    /// Berth_BadSignature.
    function appendAssigned(
        DealTerms calldata terms,
        uint32 index,
        address worker,
        bytes32 commitment,
        bytes calldata assignment,
        bytes calldata signature
    ) external;

    /// @notice Settles one task, with the pairs that were appended to it, until the final deadline. Anyone may.
    /// @dev A task that was never closed shows an empty round and leaf, and waits for the appends' end. The leaf is
    /// weighed alone first; appended pairs weigh and are paid only if it falls short. Changes and emits as `settle`.
    /// Reverts: Berth_NotReplicated, Berth_UnknownDeal, Berth_TooLate, Berth_IndexOutside, Berth_NoDigest,
    /// Berth_TaskEnded, Berth_TaskClosed, Berth_TooEarly, Berth_UnknownRound, Berth_NotInRound, Berth_BadPairCount,
    /// Berth_WorkerNotAscending, Berth_BadSignature, Berth_RootMismatch, Berth_ChainMismatch, Berth_TooLittleWeight.
    function settleOne(
        DealTerms calldata terms,
        uint32 index,
        bytes32 digest,
        Round calldata round,
        Contribution[] calldata leaf,
        bytes32[] calldata proof,
        Contribution[] calldata appended
    ) external;

    /// @notice Tells everybody a worker's reveal of a round's root, or of a chain's hash.
    /// @dev Requires: the worker's signature over Reveal(root, seed). Changes nothing. Emits: RevealPublished.
    /// Reverts: Berth_BadSignature.
    function publish(bytes32 root, address worker, bytes32 seed, bytes calldata signature) external;

    /// @notice Opens pairs that a settlement left out, until start + S + 10T. Anyone may.
    /// @dev Requires: the record `leftOut` of a settlement of this deal; salts that open the entries to the settled
    /// digests. An entry that was opened before is skipped. Changes: the share that was kept for a pair goes to the
    /// owner of its worker, and its score rises, if its bond covers the deal. Emits: ShareOpened.
    /// Reverts: Berth_UnknownRecord, Berth_TooLate, Berth_BadEntry, Berth_WrongSalt.
    function open(DealTerms calldata terms, bytes calldata leftOut, Opening[] calldata openings) external;

    /// @notice Slashes workers that signed a pair which a settlement weighed and nobody opened, after start + S + 10T
    /// and until start + S + 12T. Anyone may.
    /// @dev Requires: the record; the worker's signature over Commitment(task, commitment). An entry that was opened or
    /// punished before is skipped. Changes: min(bond, workerStake) is burnt, a third of the score lost.
    /// Emits: WorkerPunished.
    /// Reverts: Berth_UnknownRecord, Berth_TooEarly, Berth_TooLate, Berth_BadEntry, Berth_BadSignature.
    function punish(DealTerms calldata terms, bytes calldata leftOut, Evidence[] calldata evidence) external;

    /// @notice Brings a settled task's result to its deal's callback, by `receiveResult(taskId, result)` of
    /// `IResultReceiver` (ERC-1154). Anyone may, until it succeeds once; there is no deadline.
    /// @dev Requires: a deal with a callback, and a task of it that was settled with a result, not with a failure
    /// (digest of at least 2^8), and not yet delivered; keccak256(manifest ‖ keccak256(result)) is that digest; a
    /// callback with code that is neither this contract nor its token nor Assets; at least 204,174 gas left before the
    /// call, of which the callback has all but a 64th (EIP-150), so at least 200,000. Changes: nothing is due any more.
    /// Emits: ResultDelivered; then calls.
    /// Reverts: Berth_NothingDue, Berth_WrongResult, Berth_BadCallback, Berth_NoContract, Berth_GasTooLow,
    /// Berth_CallbackFailed.
    ///
    /// Settlement itself calls nobody: a callback that fails takes nothing from whoever did the work, and whatever gas
    /// it burns is its deliverer's. What it returns is not looked at.
    ///
    /// Warning: simulate it. A callback may burn all the gas that it is given, in vain.
    /// Warning: a digest that a pool and its workers made of no manifest and no bytes at all can be settled, and then
    /// never be delivered.
    /// @param manifest the sha256 of the task's manifest
    /// @param result the bytes that the job left for the callback
    function deliver(DealTerms calldata terms, uint32 index, bytes32 manifest, bytes calldata result) external;

    /// @notice What the callback of a deal waits for: the digest that the task was settled to. Zero: for nothing.
    function dueOf(DealId deal, uint32 index) external view returns (bytes32);

    /// @notice The chain of a task that pairs were appended to, and how many it has; zero if there were none.
    function appendsOf(DealId deal, uint32 index) external view returns (bytes32 chain, uint8 pairs);

    /// @notice Which entries of a record were opened or punished, from the lowest bit on; bit 255: there is a record.
    function recordOf(RecordId record) external view returns (uint256);

    /// @notice What an account has: free, and locked in open deals. Bonds are counted in neither.
    function account(address holder) external view returns (uint128 free, uint128 locked);

    /// @notice How many tasks of an order, or of a sponsorship, named by its digest, are used up. Stays zero for an
    /// unlimited order.
    function consumed(bytes32 order) external view returns (uint32);

    /// @notice The epoch of an account: orders of an earlier one are cancelled.
    function epochOf(address signer) external view returns (uint64);

    /// @notice What an account has said on chain of one order or sponsorship: nothing, approved, cancelled.
    function stanceOf(address signer, bytes32 order) external view returns (Stance);

    /// @notice What is kept of a worker of a pool.
    function bondOf(AssetId pool, address worker)
        external
        view
        returns (address owner, uint128 bonded, uint128 unbonding, uint64 releaseAt, uint32 score);

    /// @notice Whether a worker's bond covers a deal: it has an owner, and `bonded`, with `unbonding` if that is not
    /// released before the deal's last punish time, is at least the deal's worker stake.
    function covers(DealTerms calldata terms, address worker) external view returns (bool);

    /// @notice How long a bond takes to be released, in seconds: maxSpan + 12 * maxDuration + 1, past the last punish
    /// time of any deal that was matched while it counted.
    function unbondDelay() external view returns (uint64);

    /// @notice The registry of assets.
    function assets() external view returns (address);

    /// @notice The shortest and the longest duration of a task, and the longest span of a deal, in seconds.
    function bounds() external view returns (uint32 minDuration, uint32 maxDuration, uint64 maxSpan);
}

/// @title Berth: a market for computing
/// @notice Money, deals and their settlement. Immutable: no owner, no proxy, no pause; nobody but the token's issuer
/// can move or freeze another's money, by no call of this interface but with the holder's call or signature.
///
/// All of it is at one address. Behind that, Berth runs `IBerthDirect` itself and every other selector in Recourse, a
/// second immutable contract, by delegatecall, since the code size limit (EIP-170) has no room for both.
///
/// Words: T is a task's duration; S = T * ceil(size / parallel), a deal's span; all deadlines are inclusive.
///
/// The only calls out: the token, at the very end of a deposit or a withdrawal, under a lock; staticcalls to Assets
/// and to the contracts that orders name as rules or that sign them, at a match; a deal's callback, at the very end of a
/// delivery.
interface IBerth is IBerthDirect, IRecourse {}
