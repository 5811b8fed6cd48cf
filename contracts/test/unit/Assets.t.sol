// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Metadata.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {APP, DATASET, POOL, AssetId} from "../../src/types/Ids.sol";
import {PermitToken} from "../../src/mocks/PermitToken.sol";
import {World} from "../support/World.sol";

contract AssetsRegister is World {
    string private constant DESCRIPTOR = '{"name":"render"}';

    function test_RevertWhen_TheKindIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IAssets.Assets_UnknownKind.selector, 0));
        assets.register(0, DESCRIPTOR);
        vm.expectRevert(abi.encodeWithSelector(IAssets.Assets_UnknownKind.selector, 4));
        assets.register(4, DESCRIPTOR);
    }

    function test_RevertWhen_TheDescriptorIsEmpty() public {
        vm.expectRevert(abi.encodeWithSelector(IAssets.Assets_BadDescriptorLength.selector, 0));
        assets.register(APP, "");
    }

    function test_RevertWhen_TheDescriptorIsTooLong() public {
        vm.expectRevert(abi.encodeWithSelector(IAssets.Assets_BadDescriptorLength.selector, 8193));
        assets.register(APP, string(new bytes(8193)));
        assets.register(APP, string(new bytes(8192)));
    }

    function test_RevertGiven_TheSameCreatorRegisteredItBefore() public {
        AssetId asset = assets.register(APP, DESCRIPTOR);
        vm.expectRevert(abi.encodeWithSelector(IAssets.Assets_AlreadyRegistered.selector, asset));
        assets.register(APP, DESCRIPTOR);
    }

    function test_RevertGiven_ItWasRegisteredAndGivenAway() public {
        AssetId asset = assets.register(APP, DESCRIPTOR);
        assets.transferFrom(address(this), stranger, asset.tokenId());
        vm.expectRevert(abi.encodeWithSelector(IAssets.Assets_AlreadyRegistered.selector, asset));
        assets.register(APP, DESCRIPTOR);
    }

    function test_WhenRegisteredTheCreatorOwnsIt() public {
        for (uint8 kind = APP; kind <= POOL; kind++) {
            AssetId wanted = _idOf(kind, stranger);
            vm.expectEmit(address(assets));
            emit IERC721.Transfer(address(0), stranger, wanted.tokenId());
            vm.expectEmit(address(assets));
            emit IAssets.AssetRegistered(wanted, kind, stranger, DESCRIPTOR);
            vm.prank(stranger);
            AssetId asset = assets.register(kind, DESCRIPTOR);
            assertEq(AssetId.unwrap(asset), AssetId.unwrap(wanted));
            assertEq(asset.kind(), kind);
            assertEq(assets.ownerOf(asset.tokenId()), stranger);
        }
    }

    function test_WhenTwoRegisterTheSameTheyGetTwoAssets() public {
        assertNotEq(
            AssetId.unwrap(_register(DATASET, stranger, DESCRIPTOR)),
            AssetId.unwrap(_register(DATASET, sponsor.addr, DESCRIPTOR))
        );
    }

    function test_WhenAskedItSaysWhatItIs() public view {
        assertEq(IERC721Metadata(address(assets)).name(), "Berth Assets");
        assertEq(IERC721Metadata(address(assets)).symbol(), "BERTH");
        assertTrue(assets.supportsInterface(type(IERC721).interfaceId));
    }

    /// @dev ADR 0001, section 2, written a second time.
    function _idOf(uint8 kind, address creator) private pure returns (AssetId) {
        bytes32 hash = keccak256(abi.encode(kind, creator, keccak256(bytes(DESCRIPTOR))));
        return AssetId.wrap(bytes32(abi.encodePacked(bytes31(hash), kind)));
    }
}

contract PermitTokenLocal is World {
    function test_RevertGiven_TheChainIsNotLocal() public {
        vm.chainId(1);
        vm.expectRevert(abi.encodeWithSelector(PermitToken.PermitToken_NotLocal.selector, 1));
        _create("PermitToken", "");
    }

    function test_WhenLocalAnybodyMints() public {
        vm.prank(stranger);
        token.mint(stranger, 5);
        assertEq(token.balanceOf(stranger), 5);
    }
}
