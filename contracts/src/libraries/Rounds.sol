// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealId, RoundId} from "../types/Ids.sol";
import {ClosedWord, Round} from "../types/Rounds.sol";

/// @notice Hidden answers, leaves, and the roots of rounds (ADR 0001, section 4; ADR 0003, sections 1 and 2).
/// @dev Assembly: these hashes are most of what a round costs. In plain Solidity each would copy its input to fresh
/// memory, which costs a multiple. Tests compare all of it with plain Solidity.
///
/// A pad is memory in which one task after the other is hashed without another allocation:
///
///   0 seed ‖ 32 task ‖ 64 worker(20) ‖ 84 digest ‖ 116 salt     salt and commitment
///   160 chain ‖ 192 worker(20) ‖ 212 commitment                 chain
///   256 0x00 ‖ 257 deal ‖ 289 index(4) ‖ 293 chain              leaf
library Rounds {
    uint256 private constant PAD_BYTES = 352;

    /// @notice The id of a round: keccak256(abi.encode(operator, root, closed)).
    /// @dev The list is hashed as it stands in calldata: bits that do not belong there give an id that no round has.
    function idOf(address operator, Round calldata round) internal pure returns (RoundId id) {
        bytes32 root = round.root;
        ClosedWord[] calldata closed = round.closed;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, operator)
            mstore(add(free, 0x20), root)
            mstore(add(free, 0x40), 0x60)
            mstore(add(free, 0x60), closed.length)
            let length := mul(closed.length, 0x60)
            calldatacopy(add(free, 0x80), closed.offset, length)
            id := keccak256(free, add(length, 0x80))
        }
    }

    // Answers.

    /// @notice A pad for tasks of this deal.
    function pad(DealId deal) internal pure returns (bytes memory made) {
        made = new bytes(PAD_BYTES);
        assembly ("memory-safe") {
            mstore(add(made, 289), deal)
        }
    }

    /// @notice Begins a task: its id, the digest that answers are opened to, and an empty chain.
    function begin(bytes memory made, DealId deal, uint256 index, bytes32 digest) internal pure {
        assembly ("memory-safe") {
            mstore(0x00, deal)
            mstore(0x20, index)
            mstore(add(made, 64), keccak256(0x00, 0x40))
            mstore(add(made, 116), digest)
            mstore(add(made, 192), 0)
        }
    }

    /// @notice The commitment of a worker to the task's digest under a seed.
    function seal(bytes memory made, address worker, bytes32 seed) internal pure returns (bytes32 commitment) {
        assembly ("memory-safe") {
            let at := add(made, 0x20)
            mstore(at, seed)
            mstore(add(at, 116), keccak256(at, 64))
            // The worker's word begins 12 bytes early, in the task's id, which it writes again as it was.
            mstore(add(at, 52), or(shl(160, mload(add(at, 32))), worker))
            commitment := keccak256(add(at, 32), 116)
        }
    }

    /// @notice The commitment of a worker to the task's digest under a salt.
    function sealWithSalt(bytes memory made, address worker, bytes32 salt) internal pure returns (bytes32 commitment) {
        assembly ("memory-safe") {
            let at := add(made, 0x20)
            mstore(add(at, 116), salt)
            mstore(add(at, 52), or(shl(160, mload(add(at, 32))), worker))
            commitment := keccak256(add(at, 32), 116)
        }
    }

    /// @notice Adds a pair to the task's chain.
    function extend(bytes memory made, address worker, bytes32 commitment) internal pure {
        assembly ("memory-safe") {
            let at := add(made, 192)
            mstore(add(at, 32), shl(96, worker))
            mstore(add(at, 52), commitment)
            mstore(at, keccak256(at, 84))
        }
    }

    /// @notice The hash of the task's chain.
    function chainOf(bytes memory made) internal pure returns (bytes32 chain) {
        assembly ("memory-safe") {
            chain := mload(add(made, 192))
        }
    }

    /// @notice Goes on from another chain.
    function chainFrom(bytes memory made, bytes32 chain) internal pure {
        assembly ("memory-safe") {
            mstore(add(made, 192), chain)
        }
    }

    /// @notice The task's leaf.
    function leafOf(bytes memory made, uint256 index) internal pure returns (bytes32 leaf) {
        assembly ("memory-safe") {
            mstore(add(made, 321), shl(224, index))
            mstore(add(made, 325), mload(add(made, 192)))
            leaf := keccak256(add(made, 288), 69)
        }
    }

    // Places.

    /// @notice How many of 128 bits are set.
    function count(uint256 bits) internal pure returns (uint256) {
        // The usual sums of neighbours: pairs, nibbles, bytes, all.
        unchecked {
            bits -= (bits >> 1) & 0x55555555555555555555555555555555;
            bits = (bits & 0x33333333333333333333333333333333) + ((bits >> 2) & 0x33333333333333333333333333333333);
            bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
            return (bits * 0x01010101010101010101010101010101 >> 120) & 0xff;
        }
    }

    /// @notice How many leaves a round has.
    function leavesOf(ClosedWord[] calldata closed) internal pure returns (uint256 leaves) {
        // A round has at most 64 words.
        unchecked {
            for (uint256 i = 0; i < closed.length; ++i) {
                leaves += count(closed[i].bits);
            }
        }
    }

    /// @notice Which word of a round closed a task, and how many leaves come before that word's; `at` is the number of
    /// words if none did.
    function find(ClosedWord[] calldata closed, DealId deal, uint256 word, uint256 bit)
        internal
        pure
        returns (uint256 at, uint256 before)
    {
        unchecked {
            for (; at < closed.length; ++at) {
                ClosedWord calldata candidate = closed[at];
                uint256 bits = candidate.bits;
                if (candidate.word == word && bits & bit != 0 && DealId.unwrap(candidate.deal) == DealId.unwrap(deal)) {
                    break;
                }
                before += count(bits);
            }
        }
    }

    // The tree.

    /// @notice The root that some of a round's leaves give, by rising place, with the siblings that are missing; zero if
    /// the proof has too few or too many. Overwrites both lists, of which the first `known` count.
    /// @param leaves how many the round has
    /// @param known how many are shown, at least one
    function rootOf(
        uint256 leaves,
        uint256 known,
        uint256[] memory places,
        bytes32[] memory nodes,
        bytes32[] calldata proof
    ) internal pure returns (bytes32 root) {
        uint256 width = leaves;
        uint256 used = 0;
        if (known == leaves) (width, known) = (_joinAll(leaves, nodes), 1);
        while (width > 1) {
            (known, used) = _join(width, known, places, nodes, proof, used);
            if (known == 0) return 0;
            // Of at most 64 * 104 leaves.
            unchecked {
                width = (width + 1) >> 1;
            }
        }
        if (used != proof.length) return 0;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 2)
            mstore(add(free, 1), shl(224, leaves))
            mstore(add(free, 5), mload(add(nodes, 0x20)))
            root := keccak256(free, 37)
        }
    }

    /// @dev Joins all leaves of a round up to its top, in place; gives how many nodes are left: one. Each pair of nodes is
    /// hashed where it stands, with the tag in the byte before, which belongs to a node that was joined already (or, for
    /// the first, to the list's length, which is written again).
    function _joinAll(uint256 leaves, bytes32[] memory nodes) private pure returns (uint256 width) {
        assembly ("memory-safe") {
            let length := mload(nodes)
            width := leaves
            for {} gt(width, 1) {} {
                let out := add(nodes, 0x20)
                // One byte before each node.
                let from := add(nodes, 0x1f)
                let last := add(from, shl(6, shr(1, width)))
                for {} lt(from, last) {} {
                    mstore8(from, 1)
                    mstore(out, keccak256(from, 65))
                    out := add(out, 0x20)
                    from := add(from, 0x40)
                }
                // The last node of an odd width moves up unchanged.
                if and(width, 1) { mstore(out, mload(add(last, 1))) }
                width := shr(1, add(width, 1))
            }
            mstore(nodes, length)
        }
    }

    /// @dev Joins the nodes known at a level of `width` nodes; gives how many are known at the next, and how much of the
    /// proof is used then. None are known if the proof is too short.
    function _join(
        uint256 width,
        uint256 known,
        uint256[] memory places,
        bytes32[] memory nodes,
        bytes32[] calldata proof,
        uint256 used
    ) private pure returns (uint256 joined, uint256 next) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 1)
            next := used
            let from := add(places, 0x20)
            // What is read lies ahead of what is written, since no level has more nodes than the one below.
            let out := from
            let last := add(from, shl(5, known))
            nodes := sub(nodes, places)
            for {} lt(from, last) {} {
                let place := mload(from)
                let node := mload(add(from, nodes))
                from := add(from, 0x20)
                switch and(place, 1)
                case 1 {
                    // A known sibling on the left would have taken this node along.
                    if eq(next, proof.length) {
                        out := add(places, 0x20)
                        break
                    }
                    mstore(add(free, 1), calldataload(add(proof.offset, shl(5, next))))
                    mstore(add(free, 33), node)
                    next := add(next, 1)
                    node := keccak256(free, 65)
                }
                default {
                    // The last node of an odd width moves up unchanged.
                    if lt(add(place, 1), width) {
                        mstore(add(free, 1), node)
                        switch and(lt(from, last), eq(mload(from), add(place, 1)))
                        case 1 {
                            mstore(add(free, 33), mload(add(from, nodes)))
                            from := add(from, 0x20)
                        }
                        default {
                            if eq(next, proof.length) {
                                out := add(places, 0x20)
                                break
                            }
                            mstore(add(free, 33), calldataload(add(proof.offset, shl(5, next))))
                            next := add(next, 1)
                        }
                        node := keccak256(free, 65)
                    }
                }
                mstore(out, shr(1, place))
                mstore(add(out, nodes), node)
                out := add(out, 0x20)
            }
            joined := shr(5, sub(out, add(places, 0x20)))
        }
    }
}
