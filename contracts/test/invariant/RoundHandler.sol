// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {ClosedWord, Contribution, Evidence, Opening, Pair, Round} from "../../src/types/Rounds.sol";
import {Answers, Sealed, Shown} from "../support/Replicas.sol";
import {Handler} from "./Handler.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Replicated tasks: one of the crew always lies and one never reveals; all others tell the truth, and open
/// what was left out of a settlement before it is too late. Whoever settles leaves out whom it likes.
contract RoundHandler is Handler {
    uint256 private constant LIAR = 3;
    uint256 private constant SILENT = 7;
    uint256 private constant MOST_TASKS = 6;
    uint256 private constant MOST_LATE = 4;
    uint256 private constant LEFT_OUT_BYTES = 91;

    /// @notice A pair that was appended, and the chain that ends in it.
    struct Late {
        uint256 who;
        bytes32 digest;
        bytes32 seed;
        bytes32 commitment;
        bytes32 chain;
    }

    struct NeverClosed {
        bytes32 deal;
        uint32 index;
    }

    struct Kept {
        bytes32 deal;
        bytes leftOut;
    }

    /// @notice How often a worker that tells the truth and watches was punished.
    uint256 public honestPunished;
    /// @notice How often another number of pairs was weighed than the leaf's, where that suffices.
    uint256 public lateWeighed;
    /// @notice How often appended pairs made up what the leaf was short of.
    uint256 public lateNeeded;
    /// @notice How often the leaf sufficed, and appended pairs were shown nonetheless.
    uint256 public latePassedOver;

    bytes[] private _rounds;
    NeverClosed[] private _alone;
    Kept[] private _kept;
    mapping(bytes32 task => Late[]) private _late;
    mapping(bytes32 commitment => bytes32) private _salts;
    /// @dev How many pairs the settlement at hand has to weigh; zero if that is not foreseen.
    uint256 private _foreseen;

    // Before the result.

    function close(uint256 seed, uint256 picked) external counted("close") {
        (bool there, DealTerms memory terms) = _someReplicated(seed);
        if (!there || block.timestamp > _after(terms, 6)) return;
        Answers[] memory tasks = _someTasks(terms, picked);
        if (tasks.length == 0) return;
        Sealed memory round = _seal(terms, tasks, string.concat("round ", vm.toString(_rounds.length)));
        _rounds.push(abi.encode(round));
        for (uint256 i = 0; i < tasks.length; i++) {
            _keepSalts(round, tasks[i]);
        }
        _follow(_only(address(0)));
    }

    function append(uint256 seed, uint256 picked) external counted("append") {
        (bool there, Sealed memory round) = _someRound(seed);
        if (!there || block.timestamp > _after(round.terms, 6)) return;
        uint256 task = picked % round.tasks.length;
        uint32 index = round.tasks[task].index;
        if (berth.ended(_dealId(round.terms), index - round.terms.first)) return;
        uint256 late = _late[_task(round.terms, index)].length;
        if (late == MOST_LATE) return;

        // The first shows the leaf, those that follow go on from the chain.
        Pair[] memory leaf = _pairs(round.terms, round.tasks[task], round.name);
        bytes32[] memory proof = _proof(_leaves(round.terms, round.tasks, round.name), _only(round, task));
        Pair[] memory added = _addLate(round.terms, index, (picked >> 8) % CREW, _chain(0, leaf));
        if (late > 0) (leaf, proof) = (new Pair[](0), new bytes32[](0));
        vm.prank(operator.addr);
        berth.append(round.terms, index, round.round, leaf, proof, added);
        _follow(_only(address(0)));
    }

    function appendAssigned(uint256 seed, uint256 picked) external counted("appendAssigned") {
        (bool there, DealTerms memory terms) = _someReplicated(seed);
        if (!there || block.timestamp > _after(terms, 7)) return;
        // The window is short: sometimes the operator is dead until it opens.
        if (block.timestamp <= _after(terms, 6)) {
            if ((seed >> 8) % 4 != 0) return;
            _pass(_after(terms, 6) + 1);
        }
        // Mostly the same few, so that pairs come together.
        uint32 offset = uint32(picked % (terms.size < 2 ? terms.size : 2));
        DealId deal = _dealId(terms);
        if (berth.closed(deal, offset) || berth.ended(deal, offset)) return;
        uint32 index = terms.first + offset;
        if (_late[_task(terms, index)].length >= CREW) return;
        if (_late[_task(terms, index)].length == 0) _alone.push(NeverClosed(DealId.unwrap(deal), index));
        // Several do so, one after the other.
        uint256[] memory who = _turn(picked >> 8, 1 + (picked >> 16) % 6);
        for (uint256 i = 0; i < who.length; i++) {
            _appendAssigned(terms, index, who[i]);
        }
    }

    function _appendAssigned(DealTerms memory terms, uint32 index, uint256 who) private {
        Pair[] memory added = _addLate(terms, index, who, 0);
        bytes memory assignment = _signAssignment(terms, crew[who].addr, index);
        bytes memory word = _signCommitment(who, _task(terms, index), added[0].commitment);
        vm.prank(stranger);
        berth.appendAssigned(terms, index, crew[who].addr, added[0].commitment, assignment, word);
        _follow(_only(address(0)));
    }

    // The result.

    function settle(uint256 seed, uint256 picked) external counted("settle") {
        (bool there, Sealed memory round) = _someRound(seed);
        if (!there || block.timestamp > _after(round.terms, 9)) return;
        uint256 count = round.tasks.length;
        bool[] memory some = new bool[](count);
        bytes32[] memory digests = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            some[i] = i == picked % count || (picked >> (8 + i)) % 3 != 0;
            digests[i] = _someDigest(round.terms, round.tasks[i].index, picked >> (32 + i));
        }
        Shown memory shown = _show(round, some, digests, _someSilent(picked));
        vm.prank(stranger);
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
        _follow(_only(address(0)));
    }

    function settleOne(uint256 seed, uint256 picked) external counted("settleOne") {
        (bool there, Sealed memory round) = _someRound(seed);
        if (!there || block.timestamp > _after(round.terms, 9)) return;
        uint256 task = picked % round.tasks.length;
        uint32 index = round.tasks[task].index;
        if (berth.ended(_dealId(round.terms), index - round.terms.first)) return;
        bool[] memory silent = _someSilent(picked);
        bytes32 digest = _someDigest(round.terms, index, picked >> 32);
        Contribution[] memory leaf = _contributions(round, task, digest, silent);
        Contribution[] memory late;
        if (picked % 4 != 0) late = _lateOf(round.terms, index, digest, silent);
        _foreseen = _weighedOf(round.terms, leaf, late);
        if (_foreseen == 0) return;
        if (_foreseen > leaf.length) lateNeeded++;
        else if (late.length > 0) latePassedOver++;

        bytes32[] memory proof = _proof(_leaves(round.terms, round.tasks, round.name), _only(round, task));
        vm.prank(stranger);
        berth.settleOne(round.terms, index, digest, round.round, leaf, proof, late);
        _follow(_only(address(0)));
        _foreseen = 0;
    }

    function settleNeverClosed(uint256 seed, uint256 picked) external counted("settleNeverClosed") {
        if (_alone.length == 0) return;
        NeverClosed memory one = _alone[_alone.length - 1 - seed % (_alone.length < 4 ? _alone.length : 4)];
        DealTerms memory terms = ledger.termsOf(one.deal);
        if (block.timestamp > _after(terms, 9)) return;
        if (berth.ended(_dealId(terms), one.index - terms.first)) return;
        bytes32 digest = _someDigest(terms, one.index, picked >> 32);
        Contribution[] memory late = _lateOf(terms, one.index, digest, _someSilent(picked));
        Contribution[] memory leaf;
        _foreseen = _weighedOf(terms, leaf, late);
        if (_foreseen == 0) return;

        if (block.timestamp <= _after(terms, 7)) {
            _pass(_after(terms, 7) + 1);
            // Whatever was opened meanwhile has moved the scores, and bonds may be due.
            _foreseen = _weighedOf(terms, leaf, late);
            if (_foreseen == 0) return;
        }
        vm.prank(stranger);
        berth.settleOne(terms, one.index, digest, Round(0, new ClosedWord[](0)), leaf, new bytes32[](0), late);
        _follow(_only(address(0)));
        _foreseen = 0;
    }

    /// @notice Anybody who has a worker's reveal publishes it; no money moves.
    function publish(uint256 seed, uint256 who) external counted("publish") {
        (bool there, Sealed memory round) = _someRound(seed);
        if (!there) return;
        bytes32 seedOf = _seed(round.name, who % CREW);
        bytes memory word = _signReveal(who % CREW, round.round.root, seedOf);
        vm.prank(stranger);
        berth.publish(round.round.root, crew[who % CREW].addr, seedOf, word);
        _follow(_only(address(0)));
    }

    // After the result.

    function open(uint256 seed) external counted("open") {
        if (_kept.length == 0) return;
        uint256 record = _kept.length - 1 - seed % (_kept.length < 6 ? _kept.length : 6);
        if (block.timestamp > _after(ledger.termsOf(_kept[record].deal), 10)) return;
        _open(record);
    }

    /// @notice Whoever holds the workers' signatures tries it with all that was left out, opened or not.
    function punish(uint256 seed) external counted("punish") {
        if (_kept.length == 0) return;
        Kept memory kept = _kept[_kept.length - 1 - seed % (_kept.length < 6 ? _kept.length : 6)];
        DealTerms memory terms = ledger.termsOf(kept.deal);
        if (block.timestamp <= _after(terms, 10) || block.timestamp > _after(terms, 12)) return;
        Evidence[] memory evidence = new Evidence[](kept.leftOut.length / LEFT_OUT_BYTES);
        for (uint256 i = 0; i < evidence.length; i++) {
            (uint32 index, address worker_, bytes32 commitment) = _leftOutAt(kept.leftOut, i);
            evidence[i] = Evidence(uint8(i), _signCommitment(_rankOf(worker_), _task(terms, index), commitment));
        }
        vm.prank(stranger);
        berth.punish(terms, kept.leftOut, evidence);
        _follow(_only(address(0)));
    }

    /// @notice To a deadline of a deal, or just beyond it.
    function warpToDeadline(uint256 seed) external counted("warpToDeadline") {
        (bool there, DealTerms memory terms) = _someReplicated(seed);
        if (!there) return;
        uint8[5] memory deadlines = [6, 7, 9, 10, 12];
        uint256 time = _after(terms, deadlines[(seed >> 8) % 5]) + (seed >> 16) % 2;
        if (time > block.timestamp) _pass(time);
    }

    /// @dev Whoever told the truth opens what was left out, before its time is over.
    function _pass(uint256 time) internal override {
        for (uint256 i = 0; i < _kept.length; i++) {
            uint256 deadline = _after(ledger.termsOf(_kept[i].deal), 10);
            if (block.timestamp <= deadline && deadline < time) _open(i);
        }
        vm.warp(time);
    }

    function _seen(Vm.Log memory log) internal override {
        if (log.topics[0] == IBerthBase.TasksSettled.selector) {
            (bytes memory tasks,, bytes memory leftOut) = abi.decode(log.data, (bytes, bytes, bytes));
            if (leftOut.length > 0) _kept.push(Kept(log.topics[1], leftOut));
            if (_foreseen != 0 && uint8(tasks[36]) != _foreseen) lateWeighed++;
        } else if (log.topics[0] == IBerthBase.WorkerPunished.selector) {
            uint256 who = _rankOf(address(uint160(uint256(log.topics[3]))));
            if (who != LIAR && who != SILENT) honestPunished++;
        }
    }

    function _open(uint256 record) private {
        Kept memory kept = _kept[record];
        uint256 entries = kept.leftOut.length / LEFT_OUT_BYTES;
        Opening[] memory openings = new Opening[](entries);
        uint256 count = 0;
        for (uint256 i = 0; i < entries; i++) {
            (, address worker_, bytes32 commitment) = _leftOutAt(kept.leftOut, i);
            uint256 who = _rankOf(worker_);
            if (who != LIAR && who != SILENT) openings[count++] = Opening(uint8(i), _salts[commitment]);
        }
        if (count == 0) return;
        // What is left over opens the first once more, which does nothing.
        for (uint256 i = count; i < entries; i++) {
            openings[i] = openings[0];
        }
        DealTerms memory terms = ledger.termsOf(kept.deal);
        vm.prank(stranger);
        berth.open(terms, kept.leftOut, openings);
        _follow(_only(address(0)));
    }

    // Draws.

    function _someReplicated(uint256 seed) private view returns (bool, DealTerms memory terms) {
        uint256 count = ledger.dealCount();
        uint256 wanted = 1 + (seed >> 128) % 3;
        for (uint256 i = count; i > 0 && i + 12 > count; i--) {
            (, Ledger.Entry memory entry) = ledger.dealAt(i - 1);
            if (entry.terms.trust > 1) {
                terms = entry.terms;
                if (--wanted == 0) break;
            }
        }
        return (terms.trust > 1, terms);
    }

    function _someRound(uint256 seed) private view returns (bool, Sealed memory round) {
        uint256 count = _rounds.length;
        if (count == 0) return (false, round);
        return (true, abi.decode(_rounds[count - 1 - (seed >> 128) % (count < 4 ? count : 4)], (Sealed)));
    }

    /// @dev Tasks by rising index that are neither closed nor over.
    function _someTasks(DealTerms memory terms, uint256 seed) private view returns (Answers[] memory tasks) {
        Answers[] memory found = new Answers[](MOST_TASKS);
        uint256 count = 0;
        uint256 offset = seed % terms.size % 7;
        for (uint256 i = 0; i < MOST_TASKS && offset < terms.size; i++) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            bool over = berth.closed(_dealId(terms), offset) || berth.ended(_dealId(terms), offset);
            if (!over) found[count++] = _answersOf(terms, terms.first + uint32(offset), draw);
            offset += 1 + (draw >> 128) % (terms.size > 100 ? 90 : 2);
        }
        tasks = new Answers[](count);
        for (uint256 i = 0; i < count; i++) {
            tasks[i] = found[i];
        }
    }

    function _answersOf(DealTerms memory terms, uint32 index, uint256 draw) private pure returns (Answers memory list) {
        list = _answers(index, _turn(draw >> 8, 1 + (draw >> 16) % CREW), 0);
        for (uint256 i = 0; i < list.who.length; i++) {
            list.digests[i] = _answerOf(_task(terms, index), list.who[i]);
        }
    }

    /// @dev Each fourth task fails.
    function _answerOf(bytes32 task, uint256 who) private pure returns (bytes32) {
        if (who == LIAR) return _resultFrom(_lieOf(task));
        uint256 truth = uint256(_truthOf(task));
        return truth % 4 == 0 ? bytes32(1 + (truth >> 8) % 255) : _resultFrom(bytes32(truth));
    }

    function _truthOf(bytes32 task) private pure returns (bytes32) {
        return keccak256(abi.encode("truth", task));
    }

    function _lieOf(bytes32 task) private pure returns (bytes32) {
        return keccak256(abi.encode("lie", task));
    }

    function _originOf(bytes32 task, bytes32 digest) internal view override returns (bytes32) {
        if (digest == _resultFrom(_truthOf(task))) return _truthOf(task);
        if (digest == _resultFrom(_lieOf(task))) return _lieOf(task);
        return super._originOf(task, digest);
    }

    function _someDigest(DealTerms memory terms, uint256 index, uint256 draw) private pure returns (bytes32) {
        return _answerOf(_task(terms, index), draw % 6 == 0 ? LIAR : SILENT);
    }

    function _someSilent(uint256 draw) private pure returns (bool[] memory silent) {
        silent = new bool[](CREW);
        silent[SILENT] = true;
        if ((draw >> 64) % 2 == 0) silent[(draw >> 72) % CREW] = true;
    }

    // Pairs.

    function _keepSalts(Sealed memory round, Answers memory answers) private {
        Pair[] memory pairs = _pairs(round.terms, answers, round.name);
        for (uint256 i = 0; i < pairs.length; i++) {
            _salts[pairs[i].commitment] = _salt(_seed(round.name, answers.who[i]), _task(round.terms, answers.index));
        }
    }

    /// @dev One more pair for a task; `chain` is what the first goes on from.
    function _addLate(DealTerms memory terms, uint32 index, uint256 who, bytes32 chain)
        private
        returns (Pair[] memory added)
    {
        bytes32 task = _task(terms, index);
        Late[] storage list = _late[task];
        Late memory late;
        (late.who, late.digest) = (who, _answerOf(task, who));
        late.seed = keccak256(abi.encode("late", task, list.length));
        late.commitment = _commitment(task, crew[who].addr, late.digest, late.seed);
        added = new Pair[](1);
        added[0] = Pair(crew[who].addr, late.commitment);
        late.chain = _chain(list.length == 0 ? chain : list[list.length - 1].chain, added);
        list.push(late);
        _salts[late.commitment] = _salt(late.seed, task);
    }

    function _lateOf(DealTerms memory terms, uint256 index, bytes32 digest, bool[] memory silent)
        private
        returns (Contribution[] memory list)
    {
        Late[] memory late = _late[_task(terms, index)];
        list = new Contribution[](late.length);
        for (uint256 i = 0; i < late.length; i++) {
            list[i] = Contribution(crew[late[i].who].addr, late[i].commitment, 0, "");
            if (late[i].digest != digest || silent[late[i].who]) continue;
            list[i].seed = late[i].seed;
            list[i].signature = _signReveal(late[i].who, late[i].chain, late[i].seed);
        }
    }

    /// @dev How many pairs settle the task: the leaf's if they suffice, else all of distinct workers; zero if even
    /// these fall short.
    function _weighedOf(DealTerms memory terms, Contribution[] memory leaf, Contribution[] memory late)
        private
        view
        returns (uint256 weighed)
    {
        uint256[2] memory scales;
        bool[] memory there = new bool[](CREW);
        for (uint256 i = 0; i < leaf.length; i++) {
            there[_rankOf(leaf[i].worker)] = true;
            _weighIn(scales, terms, leaf[i]);
        }
        if (_suffices(scales, terms.trust)) return leaf.length;
        weighed = leaf.length;
        for (uint256 i = 0; i < late.length; i++) {
            if (there[_rankOf(late[i].worker)]) continue;
            there[_rankOf(late[i].worker)] = true;
            _weighIn(scales, terms, late[i]);
            weighed++;
        }
        if (!_suffices(scales, terms.trust)) return 0;
    }

    function _weighIn(uint256[2] memory scales, DealTerms memory terms, Contribution memory pair) private view {
        (,,,, uint32 score) = berth.bondOf(terms.pool, pair.worker);
        uint256 weight = (score / 3 > 3 ? score / 3 : 3) - 1;
        uint256 side = pair.signature.length > 0 && berth.covers(terms, pair.worker) ? 0 : 1;
        scales[side] = scales[side] == 0 ? weight : scales[side] * weight;
    }

    function _suffices(uint256[2] memory scales, uint256 trust) private pure returns (bool) {
        return scales[0] * trust > (1 + scales[0] + scales[1]) * (trust - 1);
    }

    function _rankOf(address worker_) private view returns (uint256 who) {
        while (crew[who].addr != worker_) {
            who++;
        }
    }

    function _leftOutAt(bytes memory leftOut, uint256 entry)
        private
        pure
        returns (uint32 index, address worker_, bytes32 commitment)
    {
        bytes memory cut = new bytes(LEFT_OUT_BYTES);
        for (uint256 i = 0; i < LEFT_OUT_BYTES; i++) {
            cut[i] = leftOut[entry * LEFT_OUT_BYTES + i];
        }
        assembly ("memory-safe") {
            index := shr(224, mload(add(cut, 32)))
            worker_ := shr(96, mload(add(cut, 68)))
            commitment := mload(add(cut, 88))
        }
    }
}
