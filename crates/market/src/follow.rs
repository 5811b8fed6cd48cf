//! From the contracts' events to the book's facts.

use crate::store::{StoreError, fact, fact::Place};
use berth_chain::{
    BlockNumber,
    follow::{Block, Event as Told, Sink, SinkError},
};
use berth_protocol::{AssetKind, ledger::Event};
use berth_wire::descriptor::Descriptor;
use sqlx::SqliteConnection;

/// Writes facts, and takes them back.
#[derive(Debug)]
pub(crate) struct Facts;

impl Sink<Event> for Facts {
    async fn apply(&mut self, conn: &mut SqliteConnection, blocks: &[Block<Event>]) -> Result<(), SinkError> {
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

async fn write(conn: &mut SqliteConnection, block: BlockNumber, event: &Told<Event>) -> Result<(), StoreError> {
    let at = Place { block, log_index: event.log_index };
    match &event.body {
        Event::AssetRegistered { asset, creator, descriptor } => {
            let known = Descriptor::from_bytes(descriptor.as_bytes()).ok();
            let known = known.filter(|descriptor| kind(descriptor) == asset.kind());
            fact::asset(conn, *asset, known.as_ref(), at).await?;
            fact::owner(conn, asset.get(), creator.get(), at).await
        }
        Event::AssetGiven { asset, to, .. } => fact::owner(conn, asset.get(), to.get(), at).await,
        Event::EpochRaised { account, epoch } => fact::epoch(conn, account.get(), *epoch, at).await,
        Event::DealMatched { terms, subject, .. } => {
            let orders = [terms.request, subject.appOrder, subject.datasetOrder, subject.poolOrder];
            for order in orders.iter().filter(|order| !order.is_zero()) {
                fact::consumed(conn, *order, terms.size, at).await?;
            }
            Ok(())
        }
        Event::OrderCancelled { account, order } => fact::cancelled(conn, account.get(), order.get(), at).await,
        // Money, bonds and endings change no order; an approval is asked for where an order comes without a signature.
        Event::Deposited { .. }
        | Event::Withdrawn { .. }
        | Event::OrderApproved { .. }
        | Event::DealSponsored { .. }
        | Event::SinglesSettled { .. }
        | Event::ListSkipped { .. }
        | Event::TasksDeclined { .. }
        | Event::DealClaimed { .. }
        | Event::RoundClosed { .. }
        | Event::PairsAppended { .. }
        | Event::TasksSettled { .. }
        | Event::RevealPublished { .. }
        | Event::ShareOpened { .. }
        | Event::WorkerPunished { .. }
        | Event::ResultDelivered { .. }
        | Event::WorkerEnlisted { .. }
        | Event::Bonded { .. }
        | Event::Unbonded { .. }
        | Event::BondWithdrawn { .. } => Ok(()),
    }
}

const fn kind(descriptor: &Descriptor) -> AssetKind {
    match descriptor {
        Descriptor::App { .. } => AssetKind::App,
        Descriptor::Dataset { .. } => AssetKind::Dataset,
        Descriptor::Pool { .. } => AssetKind::Pool,
    }
}
