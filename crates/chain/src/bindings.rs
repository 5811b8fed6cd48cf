//! The contracts as their committed ABIs have them (`contracts/abi`), in one module each. Everything else in this crate
//! speaks of them in the protocol's types, through [`crate::convert`].

#![expect(missing_docs, reason = "generated: `contracts/src/interfaces` is the manual")]

/// `IBerth`: what `Berth` and, behind it, `Recourse` do, say and refuse.
pub mod berth {
    alloy::sol!(
        #[derive(Debug, PartialEq, Eq)]
        IBerth,
        "../../contracts/abi/IBerth.json"
    );
}

/// `Assets`: apps, datasets and pools as tokens.
pub mod assets {
    alloy::sol!(
        #[derive(Debug, PartialEq, Eq)]
        Assets,
        "../../contracts/abi/Assets.json"
    );
}

/// The settlement token of local chains. Of other tokens only the ERC-20 and ERC-2612 parts are used.
pub mod token {
    alloy::sol!(
        #[derive(Debug, PartialEq, Eq)]
        PermitToken,
        "../../contracts/abi/PermitToken.json"
    );
}

/// What only deployment needs: constructors and code.
pub(crate) mod code {
    alloy::sol!(Berth, "../../contracts/abi/Berth.json");
}

/// What only deployment needs: constructor and code of the slow path.
pub(crate) mod recourse {
    alloy::sol!(Recourse, "../../contracts/abi/Recourse.json");
}
