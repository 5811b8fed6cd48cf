// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealSubject, DealTerms} from "../../src/types/Deals.sol";
import {AssetId, DealId} from "../../src/types/Ids.sol";
import {ClosedWord, Pair} from "../../src/types/Rounds.sol";

/// @notice All of Berth's state, rebuilt from its logs alone by the formulas of ADR 0001, section 3, and of ADR
/// 0003, section 4.
/// @dev A log that cannot be true (a task that ends twice, a balance below zero) reverts.
contract Ledger {
    /// @notice A deal, and where its money went. `held` is what it still has of what it `locked`; `kept` is
    /// kept back for pairs that were left out.
    struct Entry {
        DealTerms terms;
        uint256 open;
        bool claimed;
        uint256 locked;
        uint256 held;
        uint256 paid;
        uint256 returned;
        uint256 burnt;
        uint256 kept;
    }

    /// @notice A pair that a settlement left out, until it was `dealt` with: opened or punished.
    struct LeftOut {
        uint256 share;
        bool dealt;
        bool there;
    }

    /// @notice What the settlement of some tasks says, while it is checked.
    struct Settlement {
        bytes32 deal;
        bytes32 round;
        bytes tasks;
        bytes workers;
        bytes leftOut;
        uint256[] scores;
        uint256[] paid;
        uint256[] scored;
        uint256 listed;
    }

    /// @notice A task that was settled with a result for a callback.
    struct Wanted {
        bytes32 deal;
        uint32 index;
    }

    struct Bond {
        address owner;
        uint256 bonded;
        uint256 unbonding;
        uint256 releaseAt;
        uint256 score;
    }

    mapping(address account => uint256) public free;
    mapping(address account => uint256) public locked;
    mapping(address account => uint64) public epoch;
    mapping(bytes32 pool => mapping(address worker => Bond)) public bonds;
    mapping(bytes32 deal => mapping(uint256 index => bool)) public ended;
    mapping(bytes32 deal => Entry) private _entries;
    mapping(bytes32 deal => mapping(uint256 index => bool)) public closed;
    mapping(bytes32 deal => mapping(uint256 index => mapping(address worker => LeftOut))) private _leftOut;
    mapping(bytes32 deal => mapping(uint256 index => uint256)) private _pairs;
    /// @notice What callbacks wait for.
    mapping(bytes32 deal => mapping(uint256 index => bytes32)) public due;
    Wanted[] private _wanted;
    bytes32[] private _deals;
    uint256 public burnt;
    uint256 public kept;
    uint256 public agreedTasks;
    uint256 public neverClosedTasks;
    uint256 public closedTasks;
    uint256 public openedShares;
    uint256 public punishedPairs;
    uint256 public refusedPairs;
    uint256 public deliveredTasks;
    uint256 public settledTasks;
    uint256 public failedTasks;
    uint256 public declinedTasks;
    uint256 public claimedTasks;

    function dealCount() external view returns (uint256) {
        return _deals.length;
    }

    function dealAt(uint256 which) external view returns (DealId, Entry memory) {
        return (DealId.wrap(_deals[which]), _entries[_deals[which]]);
    }

    function wantedCount() external view returns (uint256) {
        return _wanted.length;
    }

    function wantedAt(uint256 which) external view returns (bytes32 deal, uint32 index) {
        return (_wanted[which].deal, _wanted[which].index);
    }

    function termsOf(bytes32 deal) external view returns (DealTerms memory) {
        return _entries[deal].terms;
    }

    function apply_(Vm.Log calldata log) external {
        bytes32 topic = log.topics[0];
        if (topic == IBerthBase.Deposited.selector) {
            free[_account(log.topics[1])] += abi.decode(log.data, (uint256));
        } else if (topic == IBerthBase.Withdrawn.selector) {
            free[_account(log.topics[1])] -= abi.decode(log.data, (uint256));
        } else if (topic == IBerthBase.EpochRaised.selector) {
            uint64 raised = abi.decode(log.data, (uint64));
            require(raised > epoch[_account(log.topics[1])], "I6: an epoch fell");
            epoch[_account(log.topics[1])] = raised;
        } else if (topic == IBerthBase.OrderApproved.selector || topic == IBerthBase.OrderCancelled.selector) {
            require(log.data.length == 0, "an order's word has no data");
        } else if (topic == IBerthBase.DealSponsored.selector) {
            require(_entries[log.topics[1]].terms.payer == _account(log.topics[2]), "another pays");
        } else if (topic == IBerthBase.DealMatched.selector) {
            (DealTerms memory terms,) = abi.decode(log.data, (DealTerms, DealSubject));
            _matched(log.topics[1], terms);
        } else if (topic == IBerthBase.SinglesSettled.selector) {
            _settled(log.topics[1], _account(log.topics[2]), abi.decode(log.data, (bytes)));
        } else if (topic == IBerthBase.TasksDeclined.selector) {
            (uint32[] memory indexes, bool stakeReturned) = abi.decode(log.data, (uint32[], bool));
            _declined(log.topics[1], indexes, stakeReturned);
        } else if (topic == IBerthBase.DealClaimed.selector) {
            _claimed(log.topics[1], abi.decode(log.data, (uint32)));
        } else if (topic == IBerthBase.ListSkipped.selector) {
            require(_entries[log.topics[1]].terms.size > 0, "a list of no deal");
        } else if (topic == IBerthBase.ResultDelivered.selector) {
            _delivered(log.topics[1], uint256(log.topics[2]), _account(log.topics[3]));
        } else if (!_replicated(log)) {
            _bond(log);
        }
    }

    // Replicated tasks.

    function _replicated(Vm.Log calldata log) private returns (bool) {
        bytes32 topic = log.topics[0];
        if (topic == IBerthBase.RoundClosed.selector) {
            (, ClosedWord[] memory words) = abi.decode(log.data, (bytes32, ClosedWord[]));
            for (uint256 i = 0; i < words.length; i++) {
                _closed(words[i]);
            }
        } else if (topic == IBerthBase.PairsAppended.selector) {
            (, uint8 pairs, Pair[] memory added) = abi.decode(log.data, (bytes32, uint8, Pair[]));
            uint256 before = _pairs[log.topics[1]][uint256(log.topics[2])];
            // The first append counts the leaf's, which are not in the log.
            require(before == 0 ? pairs >= added.length : pairs == before + added.length, "I8: pairs were lost");
            _pairs[log.topics[1]][uint256(log.topics[2])] = pairs;
        } else if (topic == IBerthBase.TasksSettled.selector) {
            Settlement memory told;
            (told.deal, told.round) = (log.topics[1], log.topics[2]);
            (told.tasks, told.workers, told.leftOut) = abi.decode(log.data, (bytes, bytes, bytes));
            _agreed(told);
        } else if (topic == IBerthBase.ShareOpened.selector) {
            (uint128 paid, bool scored) = abi.decode(log.data, (uint128, bool));
            _opened(log.topics[1], uint256(log.topics[2]), _account(log.topics[3]), paid, scored);
        } else if (topic == IBerthBase.WorkerPunished.selector) {
            (uint128 slashed, uint32 score) = abi.decode(log.data, (uint128, uint32));
            _punished(log.topics[1], uint256(log.topics[2]), _account(log.topics[3]), slashed, score);
        } else {
            return topic == IBerthBase.RevealPublished.selector;
        }
        return true;
    }

    function _closed(ClosedWord memory word) private {
        bytes32 deal = DealId.unwrap(word.deal);
        DealTerms memory terms = _entries[deal].terms;
        for (uint256 bit = 0; bit < 104; bit++) {
            if (word.bits >> bit & 1 == 0) continue;
            uint256 offset = 104 * uint256(word.word) + bit;
            uint256 index = terms.first + offset;
            require(offset < terms.size && terms.trust > 1, "I8: no such task");
            require(!closed[deal][index] && !ended[deal][index], "I8: a task is closed twice, or too late");
            closed[deal][index] = true;
            closedTasks++;
        }
    }

    function _agreed(Settlement memory told) private {
        require(told.tasks.length > 0 && told.workers.length % 40 == 0 && told.leftOut.length % 91 == 0, "no items");
        bytes32 pool = AssetId.unwrap(_entries[told.deal].terms.pool);
        uint256 rows = told.workers.length / 40;
        (told.scores, told.paid, told.scored) = (new uint256[](rows), new uint256[](rows), new uint256[](rows));
        for (uint256 i = 0; i < rows; i++) {
            told.scores[i] = bonds[pool][_workerAt(told, i)].score;
        }
        uint256 at = 0;
        while (at < told.tasks.length) {
            at = _agreedTask(told, at);
        }
        require(told.listed * 91 == told.leftOut.length, "I9: a record of pairs that were not weighed");
        for (uint256 i = 0; i < rows; i++) {
            uint256 row = _number(told.workers, 40 * i + 20, 20);
            require(row == told.paid[i] << 32 | told.scored[i], "I7: a worker was paid or scored otherwise");
            bonds[pool][_workerAt(told, i)].score += told.scored[i];
        }
    }

    /// @dev Ends one task: what was the payer's and the pool owner's is paid, kept back, and returned.
    function _agreedTask(Settlement memory told, uint256 at) private returns (uint256) {
        Entry storage entry = _entries[told.deal];
        uint256 index = _number(told.tasks, at, 4);
        uint256 digest = _number(told.tasks, at + 4, 32);
        uint256 pairs = _number(told.tasks, at + 36, 1);
        require(closed[told.deal][index] == (told.round != 0), "I8: a task of another round, or of none");
        _end(told.deal, entry, index);
        agreedTasks++;
        if (told.round == 0) neverClosedTasks++;

        DealTerms memory terms = entry.terms;
        uint256 price = digest < 256 ? terms.poolPrice / 10 : terms.poolPrice;
        locked[terms.payer] -= _price(terms);
        uint256 parts = _weighed(told, at + 37, pairs, price * (10_000 - terms.operatorShareBps) / 10_000);
        _pay(entry, terms.poolOwner, price - parts);
        if (digest < 256) {
            failedTasks++;
            _return(entry, terms.payer, _price(terms) - price);
        } else {
            _pay(entry, terms.appOwner, terms.appPrice);
            _pay(entry, terms.datasetOwner, terms.datasetPrice);
            _owe(told.deal, terms, uint32(index), bytes32(digest));
        }
        locked[terms.poolOwner] -= terms.poolStake;
        _return(entry, terms.poolOwner, terms.poolStake);
        return at + 37 + pairs;
    }

    /// @dev Pays the pairs that opened, keeps back for those left out, and burns what would have been the refused ones'.
    function _weighed(Settlement memory told, uint256 at, uint256 pairs, uint256 pot) private returns (uint256 parts) {
        uint256 total = 0;
        uint256 opened = 0;
        for (uint256 i = 0; i < pairs; i++) {
            total += _shareOf(told.scores[_number(told.tasks, at + i, 1) & 0x7f]);
            opened += _number(told.tasks, at + i, 1) >> 7;
        }
        bool scores = opened > 1 && _number(told.tasks, at - 33, 32) >= 256;
        for (uint256 i = 0; i < pairs; i++) {
            uint256 mark = _number(told.tasks, at + i, 1);
            uint256 share = _shareOf(told.scores[mark & 0x7f]);
            uint256 part = pot * share / total;
            parts += part;
            if (mark > 0x7f) {
                _earned(told, mark & 0x7f, part);
                if (scores) told.scored[mark & 0x7f]++;
            } else {
                _missed(told, _number(told.tasks, at - 37, 4), mark, part, share << 16 | total);
            }
        }
    }

    function _earned(Settlement memory told, uint256 row, uint256 part) private {
        Entry storage entry = _entries[told.deal];
        told.paid[row] += part;
        _pay(entry, bonds[AssetId.unwrap(entry.terms.pool)][_workerAt(told, row)].owner, part);
    }

    function _missed(Settlement memory told, uint256 index, uint256 row, uint256 part, uint256 shares) private {
        Entry storage entry = _entries[told.deal];
        address worker = _workerAt(told, row);
        entry.held -= part;
        uint256 at = 91 * told.listed;
        bool listed = at < told.leftOut.length && _number(told.leftOut, at, 4) == index
            && _number(told.leftOut, at + 36, 20) == uint160(worker);
        if (!listed) {
            // It opened, but its bond did not cover: nobody's for ever.
            entry.burnt += part;
            burnt += part;
            refusedPairs++;
            return;
        }
        require(_number(told.leftOut, at + 88, 3) == shares, "I9: another share than was weighed");
        told.listed++;
        entry.kept += part;
        kept += part;
        _leftOut[told.deal][index][worker] = LeftOut(part, false, true);
    }

    function _opened(bytes32 deal, uint256 index, address worker, uint256 paid, bool scored) private {
        Entry storage entry = _entries[deal];
        Bond storage bond = bonds[AssetId.unwrap(entry.terms.pool)][worker];
        LeftOut storage left = _leftOut[deal][index][worker];
        require(left.there && !left.dealt, "I9: a pair is opened twice, or was not left out");
        require(paid == left.share || paid == 0, "I9: another share than was kept back");
        left.dealt = true;
        entry.kept -= paid;
        kept -= paid;
        entry.paid += paid;
        free[bond.owner] += paid;
        if (scored) bond.score++;
        openedShares++;
    }

    function _punished(bytes32 deal, uint256 index, address worker, uint256 slashed, uint256 score) private {
        DealTerms memory terms = _entries[deal].terms;
        Bond storage bond = bonds[AssetId.unwrap(terms.pool)][worker];
        LeftOut storage left = _leftOut[deal][index][worker];
        require(left.there && !left.dealt, "I9: a pair is punished twice, or was opened");
        left.dealt = true;
        uint256 all = bond.bonded + bond.unbonding;
        require(slashed == (all < terms.workerStake ? all : terms.workerStake), "I9: another stake");
        uint256 fromBonded = slashed < bond.bonded ? slashed : bond.bonded;
        bond.bonded -= fromBonded;
        bond.unbonding -= slashed - fromBonded;
        bond.score = bond.score * 2 / 3;
        require(score == bond.score, "I9: another score");
        burnt += slashed;
        punishedPairs++;
    }

    function _workerAt(Settlement memory told, uint256 row) private pure returns (address) {
        return address(uint160(_number(told.workers, 40 * row, 20)));
    }

    function _shareOf(uint256 score) private pure returns (uint256 share) {
        uint256 weight = (score / 3 > 3 ? score / 3 : 3) - 1;
        while (weight > 1) {
            weight /= 2;
            share++;
        }
    }

    function _number(bytes memory from, uint256 at, uint256 count) private pure returns (uint256 number) {
        for (uint256 i = 0; i < count; i++) {
            number = number << 8 | uint8(from[at + i]);
        }
    }

    // Everything else.

    function _matched(bytes32 deal, DealTerms memory terms) private {
        require(deal == keccak256(abi.encode(terms)), "terms of another deal");
        Entry storage entry = _entries[deal];
        require(entry.terms.size == 0, "a deal twice");
        uint256 price = _price(terms) * terms.size;
        uint256 stake = uint256(terms.poolStake) * terms.size;
        entry.terms = terms;
        entry.open = terms.size;
        entry.locked = entry.held = price + stake;
        _deals.push(deal);
        _move(terms.payer, price);
        _move(terms.poolOwner, stake);
    }

    function _settled(bytes32 deal, address worker, bytes memory entries) private {
        Entry storage entry = _entries[deal];
        DealTerms memory terms = entry.terms;
        address owner = bonds[AssetId.unwrap(terms.pool)][worker].owner;
        require(entries.length > 0 && entries.length % 36 == 0, "no whole entries");
        for (uint256 at = 0; at < entries.length; at += 36) {
            (uint32 index, bytes32 digest) = _entryAt(entries, at);
            _end(deal, entry, index);
            bool failed = uint256(digest) < 256;
            uint256 paid = failed ? terms.poolPrice / 10 : terms.poolPrice;
            uint256 pot = paid * (10_000 - terms.operatorShareBps) / 10_000;
            locked[terms.payer] -= _price(terms);
            _pay(entry, owner, pot);
            _pay(entry, terms.poolOwner, paid - pot);
            if (failed) {
                failedTasks++;
                _return(entry, terms.payer, _price(terms) - paid);
            } else {
                settledTasks++;
                _owe(deal, terms, index, digest);
                _pay(entry, terms.appOwner, terms.appPrice);
                _pay(entry, terms.datasetOwner, terms.datasetPrice);
            }
            locked[terms.poolOwner] -= terms.poolStake;
            _return(entry, terms.poolOwner, terms.poolStake);
        }
    }

    function _owe(bytes32 deal, DealTerms memory terms, uint32 index, bytes32 digest) private {
        if (terms.callback == address(0)) return;
        due[deal][index] = digest;
        _wanted.push(Wanted(deal, index));
    }

    function _delivered(bytes32 deal, uint256 index, address callback) private {
        require(due[deal][index] != 0, "I10: a result is delivered that nobody waits for");
        require(callback == _entries[deal].terms.callback, "I10: another callback");
        due[deal][index] = 0;
        deliveredTasks++;
    }

    function _declined(bytes32 deal, uint32[] memory indexes, bool stakeReturned) private {
        Entry storage entry = _entries[deal];
        require(indexes.length > 0, "nothing declined");
        for (uint256 i = 0; i < indexes.length; i++) {
            require(!closed[deal][indexes[i]], "I8: a closed task is declined");
            _end(deal, entry, indexes[i]);
        }
        declinedTasks += indexes.length;
        _giveBack(entry, indexes.length, stakeReturned);
    }

    function _claimed(bytes32 deal, uint32 tasks) private {
        Entry storage entry = _entries[deal];
        require(entry.open == tasks && tasks > 0 && !entry.claimed, "I3: a claim of other tasks");
        (entry.open, entry.claimed) = (0, true);
        claimedTasks += tasks;
        _giveBack(entry, tasks, false);
    }

    function _giveBack(Entry storage entry, uint256 tasks, bool stakeReturned) private {
        DealTerms memory terms = entry.terms;
        uint256 price = _price(terms) * tasks;
        uint256 stake = uint256(terms.poolStake) * tasks;
        locked[terms.payer] -= price;
        _return(entry, terms.payer, price);
        locked[terms.poolOwner] -= stake;
        if (stakeReturned) {
            _return(entry, terms.poolOwner, stake);
        } else {
            entry.held -= stake;
            entry.burnt += stake;
            burnt += stake;
        }
    }

    function _end(bytes32 deal, Entry storage entry, uint256 index) private {
        require(index >= entry.terms.first && index - entry.terms.first < entry.terms.size, "I3: a task of no deal");
        require(!ended[deal][index] && !entry.claimed, "I3: a task ended twice");
        ended[deal][index] = true;
        entry.open--;
    }

    function _pay(Entry storage entry, address to, uint256 amount) private {
        entry.held -= amount;
        entry.paid += amount;
        free[to] += amount;
    }

    function _return(Entry storage entry, address to, uint256 amount) private {
        entry.held -= amount;
        entry.returned += amount;
        free[to] += amount;
    }

    function _move(address holder, uint256 amount) private {
        free[holder] -= amount;
        locked[holder] += amount;
    }

    function _bond(Vm.Log calldata log) private {
        Bond storage bond = bonds[log.topics[1]][_account(log.topics[2])];
        if (log.topics[0] == IBerthBase.WorkerEnlisted.selector) {
            require(bond.owner == address(0), "I6: a worker changed its owner");
            bond.owner = _account(log.topics[3]);
        } else if (log.topics[0] == IBerthBase.Bonded.selector) {
            uint256 amount = abi.decode(log.data, (uint128));
            free[bond.owner] -= amount;
            bond.bonded += amount;
        } else if (log.topics[0] == IBerthBase.Unbonded.selector) {
            (uint128 amount, uint64 releaseAt) = abi.decode(log.data, (uint128, uint64));
            bond.bonded -= amount;
            bond.unbonding += amount;
            bond.releaseAt = releaseAt;
        } else {
            require(log.topics[0] == IBerthBase.BondWithdrawn.selector, "a log that nobody knows");
            uint256 amount = abi.decode(log.data, (uint128));
            require(amount == bond.unbonding, "a part of a bond");
            bond.unbonding = 0;
            free[bond.owner] += amount;
        }
    }

    function _entryAt(bytes memory entries, uint256 at) private pure returns (uint32 index, bytes32 digest) {
        (index, digest) = (uint32(_number(entries, at, 4)), bytes32(_number(entries, at + 4, 32)));
    }

    function _price(DealTerms memory terms) private pure returns (uint256) {
        return uint256(terms.appPrice) + terms.datasetPrice + terms.poolPrice;
    }

    function _account(bytes32 topic) private pure returns (address) {
        return address(uint160(uint256(topic)));
    }
}
