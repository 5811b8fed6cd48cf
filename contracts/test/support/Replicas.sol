// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {ClosedWord, Closing, Contribution, Pair, Reveal, Round, WordBits} from "../../src/types/Rounds.sol";
import {World} from "./World.sol";

/// @notice What some workers answered to one task.
/// @param who ranks in the crew, rising
/// @param digests one each
struct Answers {
    uint32 index;
    uint256[] who;
    bytes32[] digests;
}

/// @notice A deal with one closed round, and what it hides. Seeds follow from `name`.
struct Sealed {
    DealTerms terms;
    Round round;
    Answers[] tasks;
    string name;
}

/// @notice A batch of a round's tasks, as `settle` takes it.
struct Shown {
    Reveal[] workers;
    bytes tasks;
    bytes32[] proof;
}

/// @notice ADR 0001, section 4, and ADR 0003, sections 1 and 2, in plain Solidity: the contracts' own hashing is
/// compared with this.
abstract contract Replicas is World {
    string internal constant COMMITMENT = "Commitment(bytes32 task,bytes32 commitment)";
    string internal constant REVEAL = "Reveal(bytes32 root,bytes32 seed)";
    uint32 internal constant TRUST = 5;
    uint256 internal constant CREW = 10;
    uint256 internal constant WORD = 104;

    /// @notice By rising address; each of an owner of its own, who has money besides.
    Vm.Wallet[] internal crew;
    address[] internal crewOwners;

    function setUp() public virtual override {
        super.setUp();
        for (uint256 i = 0; i < CREW; i++) {
            crew.push(vm.createWallet(string.concat("crew ", vm.toString(i))));
            for (uint256 j = i; j > 0 && crew[j].addr < crew[j - 1].addr; j--) {
                Vm.Wallet memory higher = crew[j - 1];
                crew[j - 1] = crew[j];
                crew[j] = higher;
            }
        }
        for (uint256 i = 0; i < CREW; i++) {
            address owner = makeAddr(string.concat("owner ", vm.toString(i)));
            crewOwners.push(owner);
            _fund(owner, 100 * uint256(WORKER_STAKE));
            _enlist(crew[i], owner, 10 * WORKER_STAKE);
        }
    }

    // Deals.

    function _replicated(uint32 volume) internal returns (DealTerms memory) {
        return _replicated(volume, TRUST, "replicated");
    }

    function _replicated(uint32 volume, uint32 trust, string memory salt) internal returns (DealTerms memory) {
        Orders memory orders = _replicatedOrders(volume, trust, salt);
        return _matched(orders);
    }

    function _replicatedOrders(uint32 volume, uint32 trust, string memory salt)
        internal
        view
        returns (Orders memory orders)
    {
        orders = _orders();
        orders.request.volume = volume;
        orders.request.trust = orders.pool.maxTrust = trust;
        orders.request.salt = keccak256(bytes(salt));
    }

    // Answers.

    function _resultOf(uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode("result", index));
    }

    /// @notice `count` tasks from the deal's first on, `each` workers a task in turn, who all agree.
    function _agreed(DealTerms memory terms, uint256 count, uint256 each) internal pure returns (Answers[] memory list) {
        list = new Answers[](count);
        for (uint256 i = 0; i < count; i++) {
            list[i] = _answers(terms.first + uint32(i), _turn(i * each, each), _resultOf(terms.first + i));
        }
    }

    function _answers(uint32 index, uint256[] memory who, bytes32 digest) internal pure returns (Answers memory) {
        bytes32[] memory digests = new bytes32[](who.length);
        for (uint256 i = 0; i < who.length; i++) {
            digests[i] = digest;
        }
        return Answers(index, who, digests);
    }

    /// @notice `each` ranks from `from` on, around the crew, rising.
    function _turn(uint256 from, uint256 each) internal pure returns (uint256[] memory who) {
        who = new uint256[](each);
        uint256 found = 0;
        for (uint256 rank = 0; rank < CREW; rank++) {
            if ((rank + CREW - from % CREW) % CREW < each) who[found++] = rank;
        }
    }

    function _seed(string memory name, uint256 who) internal view returns (bytes32) {
        return keccak256(abi.encode("seed", name, crew[who].addr));
    }

    function _task(DealTerms memory terms, uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode(_dealId(terms), index));
    }

    function _salt(bytes32 seed, bytes32 task) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(seed, task));
    }

    function _commitment(bytes32 task, address worker_, bytes32 digest, bytes32 seed) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(task, worker_, digest, _salt(seed, task)));
    }

    function _pairs(DealTerms memory terms, Answers memory answers, string memory name)
        internal
        view
        returns (Pair[] memory pairs)
    {
        pairs = new Pair[](answers.who.length);
        for (uint256 i = 0; i < pairs.length; i++) {
            address worker_ = crew[answers.who[i]].addr;
            bytes32 seed = _seed(name, answers.who[i]);
            pairs[i] = Pair(worker_, _commitment(_task(terms, answers.index), worker_, answers.digests[i], seed));
        }
    }

    function _chain(bytes32 chain, Pair[] memory pairs) internal pure returns (bytes32) {
        for (uint256 i = 0; i < pairs.length; i++) {
            chain = keccak256(abi.encodePacked(chain, pairs[i].worker, pairs[i].commitment));
        }
        return chain;
    }

    function _leaf(DealId deal, uint32 index, bytes32 chain) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0), deal, index, chain));
    }

    function _leaves(DealTerms memory terms, Answers[] memory tasks, string memory name)
        internal
        view
        returns (bytes32[] memory leaves)
    {
        leaves = new bytes32[](tasks.length);
        for (uint256 i = 0; i < tasks.length; i++) {
            leaves[i] = _leaf(_dealId(terms), tasks[i].index, _chain(0, _pairs(terms, tasks[i], name)));
        }
    }

    // Trees.

    function _root(bytes32[] memory leaves) internal pure returns (bytes32) {
        (bytes32 top,) = _top(leaves, new bool[](leaves.length));
        return keccak256(abi.encodePacked(uint8(2), uint32(leaves.length), top));
    }

    /// @notice The siblings that are missing where only the `shown` leaves are known.
    function _proof(bytes32[] memory leaves, bool[] memory shown) internal pure returns (bytes32[] memory proof) {
        (, proof) = _top(leaves, shown);
    }

    function _top(bytes32[] memory level, bool[] memory known) private pure returns (bytes32, bytes32[] memory) {
        bytes32[] memory proof = new bytes32[](2 * level.length + 8);
        uint256 used = 0;
        while (level.length > 1) {
            bytes32[] memory above = new bytes32[]((level.length + 1) / 2);
            bool[] memory knownAbove = new bool[](above.length);
            for (uint256 i = 0; i < above.length; i++) {
                if (2 * i + 1 == level.length) {
                    (above[i], knownAbove[i]) = (level[2 * i], known[2 * i]);
                    continue;
                }
                above[i] = keccak256(abi.encodePacked(uint8(1), level[2 * i], level[2 * i + 1]));
                knownAbove[i] = known[2 * i] || known[2 * i + 1];
                if (known[2 * i] && !known[2 * i + 1]) proof[used++] = level[2 * i + 1];
                if (!known[2 * i] && known[2 * i + 1]) proof[used++] = level[2 * i];
            }
            (level, known) = (above, knownAbove);
        }
        bytes32[] memory exact = new bytes32[](used);
        for (uint256 i = 0; i < used; i++) {
            exact[i] = proof[i];
        }
        return (level[0], exact);
    }

    // Rounds.

    function _words(DealTerms memory terms, Answers[] memory tasks) internal pure returns (WordBits[] memory words) {
        WordBits[] memory all = new WordBits[](terms.size / WORD + 1);
        uint256 used = 0;
        for (uint32 word = 0; word < all.length; word++) {
            uint104 bits = 0;
            for (uint256 i = 0; i < tasks.length; i++) {
                uint256 offset = tasks[i].index - terms.first;
                if (offset / WORD == word) bits |= uint104(1) << uint104(offset % WORD);
            }
            if (bits != 0) all[used++] = WordBits(word, bits);
        }
        words = new WordBits[](used);
        for (uint256 i = 0; i < used; i++) {
            words[i] = all[i];
        }
    }

    function _closing(DealTerms memory terms, WordBits[] memory words) internal pure returns (Closing[] memory deals) {
        deals = new Closing[](1);
        deals[0] = Closing(terms, words);
    }

    function _roundOf(DealTerms memory terms, WordBits[] memory words, bytes32 root)
        internal
        pure
        returns (Round memory round)
    {
        round.root = root;
        round.closed = new ClosedWord[](words.length);
        for (uint256 i = 0; i < words.length; i++) {
            round.closed[i] = ClosedWord(_dealId(terms), words[i].word, words[i].bits);
        }
    }

    /// @notice The operator closes these tasks (by rising index) in one round.
    function _seal(DealTerms memory terms, Answers[] memory tasks, string memory name)
        internal
        returns (Sealed memory round)
    {
        WordBits[] memory words = _words(terms, tasks);
        bytes32 root = _root(_leaves(terms, tasks, name));
        vm.prank(terms.operator);
        berth.close(root, _closing(terms, words));
        return Sealed(terms, _roundOf(terms, words, root), tasks, name);
    }

    function _sealAgreed(uint32 volume, uint256 each) internal returns (Sealed memory) {
        DealTerms memory terms = _replicated(volume);
        return _seal(terms, _agreed(terms, volume, each), "round");
    }

    // Batches.

    /// @notice All of a round, settled to what most first workers say, with everybody's reveal.
    function _showAll(Sealed memory round) internal returns (Shown memory) {
        bool[] memory silent = new bool[](CREW);
        return _show(round, _everyTask(round), _firstDigests(round), silent);
    }

    function _everyTask(Sealed memory round) internal pure returns (bool[] memory picked) {
        picked = new bool[](round.tasks.length);
        for (uint256 i = 0; i < picked.length; i++) {
            picked[i] = true;
        }
    }

    function _only(Sealed memory round, uint256 task) internal pure returns (bool[] memory picked) {
        picked = new bool[](round.tasks.length);
        picked[task] = true;
    }

    function _firstDigests(Sealed memory round) internal pure returns (bytes32[] memory digests) {
        digests = new bytes32[](round.tasks.length);
        for (uint256 i = 0; i < digests.length; i++) {
            digests[i] = round.tasks[i].digests[0];
        }
    }

    /// @notice Some tasks of a round, settled to `digests`, without the reveals of the silent.
    function _show(Sealed memory round, bool[] memory picked, bytes32[] memory digests, bool[] memory silent)
        internal
        returns (Shown memory shown)
    {
        uint256[] memory ranks;
        (shown.workers, ranks) = _table(round, picked, silent);
        for (uint256 i = 0; i < picked.length; i++) {
            if (picked[i]) shown.tasks = bytes.concat(shown.tasks, _pack(round, i, digests[i], silent, ranks));
        }
        shown.proof = _proof(_leaves(round.terms, round.tasks, round.name), picked);
    }

    function _table(Sealed memory round, bool[] memory picked, bool[] memory silent)
        internal
        returns (Reveal[] memory workers, uint256[] memory ranks)
    {
        bool[] memory there = new bool[](CREW);
        uint256 count = 0;
        for (uint256 i = 0; i < picked.length; i++) {
            for (uint256 j = 0; picked[i] && j < round.tasks[i].who.length; j++) {
                if (!there[round.tasks[i].who[j]]) count++;
                there[round.tasks[i].who[j]] = true;
            }
        }
        (workers, ranks, count) = (new Reveal[](count), new uint256[](CREW), 0);
        for (uint256 who = 0; who < CREW; who++) {
            if (!there[who]) continue;
            ranks[who] = count;
            workers[count].worker = crew[who].addr;
            if (!silent[who]) {
                workers[count].seed = _seed(round.name, who);
                workers[count].signature = _signReveal(who, round.round.root, workers[count].seed);
            }
            count++;
        }
    }

    function _pack(
        Sealed memory round,
        uint256 task,
        bytes32 digest,
        bool[] memory silent,
        uint256[] memory ranks
    ) internal view returns (bytes memory packed) {
        Answers memory answers = round.tasks[task];
        Pair[] memory pairs = _pairs(round.terms, answers, round.name);
        bytes memory commitments;
        packed = abi.encodePacked(answers.index, digest, uint8(pairs.length));
        for (uint256 i = 0; i < pairs.length; i++) {
            bool opens = answers.digests[i] == digest && !silent[answers.who[i]];
            packed = bytes.concat(packed, bytes1(uint8(ranks[answers.who[i]] | (opens ? 0x80 : 0))));
            if (!opens) commitments = bytes.concat(commitments, pairs[i].commitment);
        }
        packed = bytes.concat(packed, commitments);
    }

    function _settleShown(Sealed memory round, Shown memory shown) internal {
        vm.prank(round.terms.operator);
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
    }

    // One task.

    /// @notice The pairs of a task as `settleOne` takes them, settled to `digest`.
    function _contributions(Sealed memory round, uint256 task, bytes32 digest, bool[] memory silent)
        internal
        returns (Contribution[] memory list)
    {
        Answers memory answers = round.tasks[task];
        Pair[] memory pairs = _pairs(round.terms, answers, round.name);
        list = new Contribution[](pairs.length);
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = Contribution(pairs[i].worker, pairs[i].commitment, 0, "");
            if (answers.digests[i] != digest || silent[answers.who[i]]) continue;
            bytes32 seed = _seed(round.name, answers.who[i]);
            list[i] = Contribution(pairs[i].worker, 0, seed, _signReveal(answers.who[i], round.round.root, seed));
        }
    }

    // Records.

    function _leftOutEntry(
        uint32 index,
        bytes32 digest,
        address worker_,
        bytes32 commitment,
        uint256 share,
        uint256 total
    ) internal pure returns (bytes memory) {
        return abi.encodePacked(index, digest, worker_, commitment, uint8(share), uint16(total));
    }

    function _recordId(DealTerms memory terms, bytes memory leftOut) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(_dealId(terms), leftOut));
    }

    // Signatures.

    function _revealDigest(bytes32 root, bytes32 seed) internal view returns (bytes32) {
        return _typed(REVEAL, abi.encode(root, seed));
    }

    function _commitmentDigest(bytes32 task, bytes32 commitment) internal view returns (bytes32) {
        return _typed(COMMITMENT, abi.encode(task, commitment));
    }

    function _signReveal(uint256 who, bytes32 root, bytes32 seed) internal returns (bytes memory) {
        return _signature(crew[who], _revealDigest(root, seed));
    }

    function _signCommitment(uint256 who, bytes32 task, bytes32 commitment) internal returns (bytes memory) {
        return _signature(crew[who], _commitmentDigest(task, commitment));
    }
}
