// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealSubject, DealTerms} from "../../src/types/Deals.sol";
import {AssetId, DealId} from "../../src/types/Ids.sol";

/// @notice All of Berth's state, rebuilt from its logs alone by the formulas of ADR 0001, section 3.
/// @dev A log that cannot be true (a task that ends twice, a balance below zero) reverts.
contract Ledger {
    /// @notice A deal, and where its money went. `held` is what it still has of what it `locked`.
    struct Entry {
        DealTerms terms;
        uint256 open;
        bool claimed;
        uint256 locked;
        uint256 held;
        uint256 paid;
        uint256 returned;
        uint256 burnt;
    }

    struct Bond {
        address owner;
        uint256 bonded;
        uint256 unbonding;
        uint256 releaseAt;
    }

    mapping(address account => uint256) public free;
    mapping(address account => uint256) public locked;
    mapping(address account => uint64) public epoch;
    mapping(bytes32 pool => mapping(address worker => Bond)) public bonds;
    mapping(bytes32 deal => mapping(uint256 index => bool)) public ended;
    mapping(bytes32 deal => Entry) private _entries;
    bytes32[] private _deals;
    uint256 public burnt;
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
        } else {
            _bond(log);
        }
    }

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
                _pay(entry, terms.appOwner, terms.appPrice);
                _pay(entry, terms.datasetOwner, terms.datasetPrice);
            }
            locked[terms.poolOwner] -= terms.poolStake;
            _return(entry, terms.poolOwner, terms.poolStake);
        }
    }

    function _declined(bytes32 deal, uint32[] memory indexes, bool stakeReturned) private {
        Entry storage entry = _entries[deal];
        require(indexes.length > 0, "nothing declined");
        for (uint256 i = 0; i < indexes.length; i++) {
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
        bytes memory entry = new bytes(36);
        for (uint256 i = 0; i < 36; i++) {
            entry[i] = entries[at + i];
        }
        index = uint32(bytes4(entry));
        uint256 word = 0;
        for (uint256 i = 4; i < 36; i++) {
            word = word << 8 | uint8(entry[i]);
        }
        digest = bytes32(word);
    }

    function _price(DealTerms memory terms) private pure returns (uint256) {
        return uint256(terms.appPrice) + terms.datasetPrice + terms.poolPrice;
    }

    function _account(bytes32 topic) private pure returns (address) {
        return address(uint160(uint256(topic)));
    }
}
