//! What happens to replicated tasks beside the batch: pairs that are appended, tasks settled one by one, shares opened late,
//! silence punished. On a market of its own, since it waits for deadlines.

use super::{
    fixture::Fixture,
    print,
    rounds::{Answer, Crew},
};
use alloy::{
    primitives::{B256, Bytes},
    sol_types::SolEvent as _,
};
use berth_chain::{
    bindings::berth::IBerth,
    call::{self, Contribution, Evidence, Opening, Shown, TableRow},
};
use berth_protocol::{
    DealTerms,
    domain::{Commitment, Reveal},
    round::{self, BatchPair, BatchTask, ClosedRound, Closing, LeftOut, Pair, WordBits},
};
use eyre::{OptionExt as _, ensure};

/// Tasks of the round that the appended pair and the single settlement are of: the proof has seven hashes.
const TASKS: u32 = 100;

/// Measures them.
pub(super) async fn measure() -> eyre::Result<()> {
    let fixture = Fixture::build().await?;
    // Every worker has a score from here on.
    super::rounds::settled(&fixture, "earlier round", super::fixture::PARALLEL, 3).await?;
    appended(&fixture).await?;
    let opened = left_out(&fixture, "opened").await?;
    let punished = left_out(&fixture, "punished").await?;
    open(&fixture, &opened).await?;
    punish(&fixture, &punished).await?;
    // All agreed; the share that nobody opened is kept for ever.
    let books = fixture.audit((0, super::fixture::PARALLEL as usize + 3, 0, 0)).await?;
    ensure!(books.kept > 0 && books.burnt > 0, "nobody was punished");
    Ok(())
}

/// Two of three answer in time; the third is appended to the closed task, which then settles alone.
async fn appended(fixture: &Fixture) -> eyre::Result<()> {
    let name = "round that falls short";
    let terms = fixture.replicated(name, TASKS).await?;
    let crew = Crew::of(fixture, name);
    let answers: Vec<Answer> = terms.indexes().map(|index| crew.answer(&terms, index, 3)).collect::<Result<_, _>>()?;
    let short = |of: &Answer| round::leaf(terms.id(), of.index, &of.pairs[..2]);
    let leaves: Vec<B256> = answers.iter().map(short).collect::<Result<_, _>>()?;
    let root = round::root(&leaves).ok_or_eyre("a round without tasks")?;
    let deals = [Closing { words: WordBits::of(terms.indexes().map(|index| index - terms.first)), terms }];
    fixture.operate(call::close(root, &deals)).await?;

    let [Closing { terms, .. }] = &deals;
    let closed = ClosedRound::new(root, &deals);
    let proof = round::multiproof(&leaves, &[0]);
    let shown = Shown { round: &closed, proof: &proof };
    let Answer { index, digest, pairs } = &answers[0];
    let (leaf, added) = pairs.split_at(2);
    print("append", fixture.operate(call::append(terms, *index, shown, leaf, added)).await?)?;

    let opening = |(pair, of): (&Pair, B256)| {
        let (signer, seed) = crew.member(pair.worker)?;
        let signature = fixture.sign(signer, &Reveal { root: of, seed })?;
        Ok(Contribution { worker: pair.worker, commitment: B256::ZERO, seed, signature })
    };
    let all = pairs.iter().copied().fold(B256::ZERO, round::extend);
    let leaf: Vec<_> = leaf.iter().map(|pair| opening((pair, root))).collect::<eyre::Result<_>>()?;
    let added: Vec<_> = added.iter().map(|pair| opening((pair, all))).collect::<eyre::Result<_>>()?;
    let settling = call::settle_one(terms, (*index, *digest), shown, &leaf, &added);
    print("settle_one_3", fixture.operate(settling).await?)
}

/// A task settled with four of its five pairs open.
struct Partial<'a> {
    terms: DealTerms,
    crew: Crew<'a>,
    record: Vec<LeftOut>,
}

/// A deal of one task that five answer; the settlement is sent without the last one's reveal.
async fn left_out<'a>(fixture: &'a Fixture, name: &str) -> eyre::Result<Partial<'a>> {
    let terms = fixture.replicated(name, 1).await?;
    let crew = Crew::of(fixture, name);
    let answer = crew.answer(&terms, terms.first, 5)?;
    let root = round::root(&[round::leaf(terms.id(), answer.index, &answer.pairs)?]).ok_or_eyre("a round of one")?;
    let deals = [Closing { words: WordBits::of([0]), terms }];
    fixture.operate(call::close(root, &deals)).await?;

    let closed = ClosedRound::new(root, &deals);
    let [Closing { terms, .. }] = deals;
    let silent = answer.pairs.last().ok_or_eyre("no pairs")?.worker;
    let table = crew.table(fixture, root, core::slice::from_ref(&answer))?;
    let unopened = |row: TableRow| TableRow { seed: B256::ZERO, signature: Bytes::new(), ..row };
    let table: Vec<TableRow> =
        table.into_iter().map(|row| if row.worker == silent { unopened(row) } else { row }).collect();
    let hide = |(pair, shown): (&Pair, BatchPair)| BatchPair {
        hidden: (pair.worker == silent).then_some(pair.commitment),
        ..shown
    };
    let task = answer.opened(&table)?;
    let pairs = answer.pairs.iter().zip(task.pairs).map(hide).collect();
    let batch = [BatchTask { pairs, ..task }];
    let settling = call::settle(&terms, Shown { round: &closed, proof: &[] }, &table, &batch);
    let receipt = fixture.node.send(fixture.operator.address(), Some(fixture.berth), settling).await?;
    let event = receipt.logs().iter().find_map(|log| IBerth::TasksSettled::decode_log(&log.inner).ok());
    let record = LeftOut::parse(&event.ok_or_eyre("nothing settled")?.leftOut)?;
    ensure!(record.len() == 1 && record[0].worker == silent, "{record:?}");
    Ok(Partial { terms, crew, record })
}

/// Anyone opens the share that was left out.
async fn open(fixture: &Fixture, partial: &Partial<'_>) -> eyre::Result<()> {
    let Partial { terms, crew, record } = partial;
    let (_, seed) = crew.member(record[0].worker)?;
    let opening = Opening { entry: 0, salt: round::salt(seed, terms.task(record[0].index)?) };
    let input = call::open(terms, record, &[opening]);
    print("open", fixture.node.send(fixture.stranger.address(), Some(fixture.berth), input).await?.gas_used)
}

/// Anyone shows that the worker had made the pair that nobody opened.
async fn punish(fixture: &Fixture, partial: &Partial<'_>) -> eyre::Result<()> {
    let Partial { terms, crew, record } = partial;
    let (signer, _) = crew.member(record[0].worker)?;
    let statement = Commitment { task: terms.task(record[0].index)?.get(), commitment: record[0].commitment };
    let evidence = Evidence { entry: 0, signature: fixture.sign(signer, &statement)? };
    fixture.node.wait_until(terms.deadlines().open.plus(1)).await?;
    let input = call::punish(terms, record, &[evidence]);
    print("punish", fixture.node.send(fixture.stranger.address(), Some(fixture.berth), input).await?.gas_used)
}
