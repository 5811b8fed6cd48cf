//! What to do about each error of our own contracts. A test compares the table with the committed ABIs.

use berth_protocol::ledger::Refusal;

/// The hint of a refusal; `None` only where the table lacks it, which a test forbids.
pub(super) fn of(refusal: &Refusal) -> Option<&'static str> {
    let (name, _) = refusal.signature().split_once('(')?;
    HINTS.iter().find(|(error, _)| *error == name).map(|(_, hint)| *hint)
}

/// By the error's name, in the order of [`Refusal`].
pub(super) const HINTS: &[(&str, &str)] = &[
    // Accounts.
    ("Berth_FreeTooSmall", "deposit the difference: `berth account deposit`"),
    ("Berth_BadRecipient", "name an account that somebody has the key of, not zero and not the market's contract"),
    ("Berth_HeldTooLarge", "deposit less: all accounts together hold at most 2^128 - 1 base units"),
    // Construction.
    ("Berth_BadBounds", "give a shortest duration of 1 s at least, a longest not below it, and a span not below that"),
    ("Berth_NoContract", "deploy that contract first, and give its address on this chain"),
    ("Berth_RecourseMismatch", "deploy Recourse with the same assets and bounds: `berth deploy` does both"),
    // Assets.
    ("Assets_UnknownKind", "register it as an app (1), a dataset (2) or a pool (3)"),
    ("Assets_BadDescriptorLength", "shorten the descriptor, or give one"),
    ("Assets_AlreadyRegistered", "use the asset that is there, or change its descriptor"),
    // A match.
    (
        "Berth_WrongKind",
        "name an asset of that kind: the last byte of an id is 01 for apps, 02 for datasets, 03 for pools",
    ),
    ("Berth_UnknownAsset", "check the id, and that the asset is registered on this chain"),
    ("Berth_AssetMismatch", "match the request with offers of the assets that it names"),
    ("Berth_PriceTooHigh", "raise the highest price of the request, or choose a cheaper offer"),
    ("Berth_TagMissing", "choose a pool that offers it, or ask for less"),
    ("Berth_DurationOutOfBounds", "choose a duration within these bounds, or another pool: `berth run --timeout`"),
    ("Berth_TrustTooHigh", "ask for less trust, or choose a pool that gives more"),
    ("Berth_ShareTooLarge", "give a share of at most 10000 basis points, which is all"),
    ("Berth_NothingParallel", "let the pool's order say that it runs 1 task at a time at least"),
    ("Berth_BadVolume", "ask for 1 task at least; only offers may be without limit"),
    ("Berth_AnyPool", "name a pool, or a contract that lists pools, in the request"),
    (
        "Berth_RuleRefused",
        "choose an offer that admits you and the other assets, or change the order that has the rule",
    ),
    ("Berth_OrderExpired", "let its signer sign a new order, or take another offer"),
    ("Berth_OrderCancelled", "let its signer sign a new order with the current epoch, or take another offer"),
    ("Berth_OrderConsumed", "take another offer, or sign a new order"),
    (
        "Berth_BadSignature",
        "let the asset's owner of today, or the requester, sign this very order for this chain and contract",
    ),
    ("Berth_PayerAbsent", "let the payer send the match, or sign a sponsorship for it: `berth account sponsor`"),
    ("Berth_OrderRevoked", "sign a new order: another salt makes it another one"),
    ("Berth_NotApproved", "give a signature, or let the signer approve the digest: `berth account approve-order`"),
    (
        "Berth_SponsoredVolume",
        "match orders of which exactly the sponsored number of tasks is left, or ask for another sponsorship",
    ),
    ("Berth_SpanTooLong", "ask for fewer tasks, shorter ones, or a pool that runs more at a time"),
    ("Berth_EpochNotRaised", "give an epoch above the current one: `berth account cancel-orders` takes the next"),
    // Deliveries.
    ("Berth_NothingDue", "it may have been delivered, or be unsettled or a failure: `berth task show` tells"),
    ("Berth_WrongResult", "show the sha256 of the task's manifest, and the callback's bytes as they are"),
    ("Berth_BadCallback", "nobody can deliver it: name a contract of your own in the next request"),
    ("Berth_GasTooLow", "give the transaction more gas: the callback has a right to 200,000"),
    ("Berth_CallbackFailed", "ask its owner why it fails, or give it more gas; it may be tried again"),
    // Deals.
    ("Berth_UnknownDeal", "show the terms exactly as the match's event tells them, on the chain of the match"),
    ("Berth_TooLate", "its time is over; what is still open of a deal returns to its payer: `berth task show`"),
    ("Berth_TooEarly", "try again after that time"),
    ("Berth_NotSingle", "settle its tasks from their round"),
    ("Berth_IndexOutside", "name tasks of the deal only"),
    ("Berth_IndexNotAscending", "sort the tasks by index, each once"),
    ("Berth_NoDigest", "give the result's digest: zero is none"),
    ("Berth_BadListLength", "give 1 to 256 entries of 36 bytes each"),
    ("Berth_BatchTooLarge", "split it into several calls"),
    ("Berth_BadAssignmentsLength", "add the operator's assignment of 65 bytes for each entry, in their order"),
    ("Berth_NotOperator", "send it with the operator's key of the deal's pool order"),
    ("Berth_NothingOpen", "nothing is left to do for this deal"),
    // Rounds.
    ("Berth_NotReplicated", "settle its tasks by their workers' lists of results"),
    ("Berth_BadBits", "close 1 to 64 words, rising within a deal, with bits of tasks that the deal has"),
    ("Berth_AlreadyClosed", "read the deal's state again, and close only what is open"),
    ("Berth_UnknownRound", "show root and words as the round's event tells them, once it is in the chain"),
    ("Berth_NotInRound", "show the round that closed the task, and its tasks in the order of their leaves"),
    ("Berth_TaskClosed", "show the round that closed the task"),
    ("Berth_TaskEnded", "nothing is left to do for this task"),
    ("Berth_RootMismatch", "check digest, pairs and seeds of each task, and the proof of their leaves"),
    ("Berth_ChainMismatch", "show all appended pairs, in the order of their events"),
    ("Berth_BadPairCount", "show 1 to 64 pairs, and append at least one"),
    ("Berth_WorkerNotAscending", "sort the workers by address, each once"),
    ("Berth_BadTasksLength", "pack 1 to 256 tasks, each with the commitments of its pairs that don't open"),
    ("Berth_BadRank", "number the pairs' workers by their places in the table, rising"),
    ("Berth_NotRevealed", "show the worker's reveal in the table, or its commitment in the task"),
    ("Berth_TooLittleWeight", "wait for more reveals, or append further workers' pairs"),
    ("Berth_UnknownRecord", "show the left-out pairs exactly as the settlement's event tells them"),
    ("Berth_BadEntry", "count the entries from 0"),
    ("Berth_WrongSalt", "open it with keccak(seed, task), if its answer is the settled digest at all"),
    // Bonds.
    (
        "Berth_NotBondOwner",
        "use the account that bonded the worker first; a new worker needs its own `berth worker enlist`",
    ),
    ("Berth_BondTooSmall", "take away no more than is bonded: `berth worker status`"),
    ("Berth_BondTooLarge", "bond less: a worker's bond holds at most 2^96 - 1 base units"),
    ("Berth_BondHeld", "withdraw it after that time"),
    ("Berth_NothingUnbonding", "take some of the bond away first: `berth worker unbond`"),
];
