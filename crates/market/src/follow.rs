//! From the contracts' events to the book's facts.

use crate::store::{StoreError, fact, fact::Place};
use alloy::{
    primitives::{Address, B256, Log},
    sol_types::SolEvent as _,
};
use berth_chain::{
    BlockNumber,
    bindings::{assets::Assets, berth::IBerth},
    convert::DecodeError,
    follow::{Block, Event, Sink, SinkError},
};
use berth_protocol::{AssetId, AssetKind};
use berth_wire::descriptor::Descriptor;
use sqlx::SqliteConnection;

/// What matters to the book.
#[derive(Debug)]
pub(crate) enum Fact {
    /// An asset is there, with this descriptor.
    Registered(AssetId, String),
    /// An asset has another owner, or its first.
    Transferred(B256, Address),
    /// All orders of an account of an earlier epoch are cancelled.
    EpochRaised(Address, u64),
    /// So many tasks of each of these orders are gone.
    Matched(Vec<B256>, u32),
}

/// Reads what matters; everything else is left out.
pub(crate) fn decode(log: &Log) -> Result<Option<Fact>, DecodeError> {
    let Some(topic) = log.topics().first() else { return Ok(None) };
    Ok(match *topic {
        Assets::AssetRegistered::SIGNATURE_HASH => {
            let event = Assets::AssetRegistered::decode_log(log)?.data;
            AssetId::new(event.asset).map(|id| Fact::Registered(id, event.descriptor))
        }
        Assets::Transfer::SIGNATURE_HASH => {
            let event = Assets::Transfer::decode_log(log)?.data;
            Some(Fact::Transferred(B256::from(event.tokenId), event.to))
        }
        IBerth::EpochRaised::SIGNATURE_HASH => {
            let event = IBerth::EpochRaised::decode_log(log)?.data;
            Some(Fact::EpochRaised(event.account, event.epoch))
        }
        IBerth::DealMatched::SIGNATURE_HASH => {
            let event = IBerth::DealMatched::decode_log(log)?.data;
            let subject = event.subject;
            let orders = [event.terms.request, subject.appOrder, subject.datasetOrder, subject.poolOrder];
            let orders = orders.into_iter().filter(|order| !order.is_zero()).collect();
            Some(Fact::Matched(orders, event.terms.size))
        }
        _ => None,
    })
}

/// Writes facts, and takes them back.
#[derive(Debug)]
pub(crate) struct Facts;

impl Sink<Fact> for Facts {
    async fn apply(&mut self, conn: &mut SqliteConnection, blocks: &[Block<Fact>]) -> Result<(), SinkError> {
        for block in blocks {
            for event in &block.events {
                write(conn, block.at.number, event).await?;
            }
        }
        Ok(())
    }

    async fn unwind(&mut self, conn: &mut SqliteConnection, to: BlockNumber) -> Result<(), SinkError> {
        Ok(fact::unwind(conn, to).await?)
    }
}

async fn write(conn: &mut SqliteConnection, block: BlockNumber, event: &Event<Fact>) -> Result<(), StoreError> {
    let at = Place { block, log_index: event.log_index };
    match &event.body {
        Fact::Registered(id, descriptor) => {
            let name = Descriptor::from_bytes(descriptor.as_bytes()).ok();
            let name = name.filter(|descriptor| kind(descriptor) == id.kind());
            fact::asset(conn, *id, name.as_ref().map(Descriptor::name), at).await
        }
        Fact::Transferred(asset, owner) => fact::owner(conn, *asset, *owner, at).await,
        Fact::EpochRaised(account, epoch) => fact::epoch(conn, *account, *epoch, at).await,
        Fact::Matched(orders, tasks) => {
            for order in orders {
                fact::consumed(conn, *order, *tasks, at).await?;
            }
            Ok(())
        }
    }
}

const fn kind(descriptor: &Descriptor) -> AssetKind {
    match descriptor {
        Descriptor::App { .. } => AssetKind::App,
        Descriptor::Pool { .. } => AssetKind::Pool,
    }
}
