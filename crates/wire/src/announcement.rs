//! What a worker says of itself, and signs: what it can do, what is local to it, and on what terms it takes tasks (ADR
//! 0005).

use crate::{
    canonical,
    descriptor::Runtime,
    job::Image,
    name,
    units::{Decimal, OciDigest, Sha256},
};
use alloy::primitives::{Address, B256, Bytes};
use berth_protocol::domain;
use serde::{Deserialize, Serialize};

/// What a worker can give in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Tasks at one time.
    pub slots: u32,
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk for outputs.
    pub disk_bytes: u64,
    /// Whether it lets jobs use the network.
    pub network: bool,
    /// Whether it fetches containers' images that it does not have.
    pub fetches_images: bool,
}

/// What is local to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shares {
    /// Engines that passed their probe.
    pub engines: Vec<Runtime>,
    /// Images that are there, by digest.
    pub images: Vec<Image>,
    /// Data that are there, by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<SharedDataset>,
    /// Software that is there, by name ([`crate::name`]), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Whether it fetches virtual machines' disks that it does not have.
    #[serde(default)]
    pub fetches_disks: bool,
    /// Whether it fetches inputs from the addresses that jobs name.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub fetches_inputs: bool,
}

/// Data that a worker shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDataset {
    /// What its owner calls it. Nothing is looked up by it.
    pub name: String,
    /// A file's sha256; of a folder, the sha256 of its [`crate::manifest::Manifest`].
    pub sha256: Sha256,
    /// How many bytes it has in all.
    pub size: u64,
}

/// On what terms a worker takes tasks now: its owner's policy, as far as a scheduler needs it so as to give nothing out in
/// vain. The worker checks it itself, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// Why it takes nothing now; absent: it takes tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Only these apps; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<B256>,
    /// None of these apps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_apps: Vec<B256>,
    /// Only these requesters; empty: anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requesters: Vec<Address>,
    /// None of these requesters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_requesters: Vec<Address>,
    /// The least that a deal has to pay the pool for a task.
    #[serde(default)]
    pub min_price: Decimal,
}

impl Terms {
    /// Why a task of this app, requester and pool's price is not taken; `None`: it is, if the worker takes any.
    pub fn refuse(&self, app: B256, requester: Address, price: u128) -> Option<String> {
        if (!self.apps.is_empty() && !self.apps.contains(&app)) || self.refused_apps.contains(&app) {
            return Some(format!("its owner takes no jobs of app {app}"));
        }
        let is_other = !self.requesters.is_empty() && !self.requesters.contains(&requester);
        if is_other || self.refused_requesters.contains(&requester) {
            return Some(format!("its owner takes no jobs of requester {requester}"));
        }
        let least = self.min_price.0;
        (price < least).then(|| format!("its owner takes nothing below {least} a task, and the pool gets {price}"))
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What it can do.
    pub capacity: Capacity,
    /// What is local to it, probed.
    pub shares: Shares,
    /// On what terms.
    pub terms: Terms,
}

impl Announcement {
    /// What the worker signs: a statement about the sha256 of this document's canonical form.
    pub fn statement(&self, pool: B256, at_ms: u64) -> domain::Announcement {
        domain::Announcement { pool, at: at_ms, content: B256::new(canonical::hash(self).0) }
    }
}

/// What a worker says of itself, and stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// What it says.
    pub said: Announcement,
    /// When, by its clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// The worker's, over [`Announcement::statement`].
    pub signature: Bytes,
}

impl Shares {
    /// Whether the image meant is there: either digest decides.
    pub fn has(&self, wanted: &Image) -> bool {
        let same = |a: Option<OciDigest>, b: Option<OciDigest>| a.is_some() && a == b;
        self.images.iter().any(|have| {
            same(have.config, wanted.config)
                || same(have.manifest, wanted.manifest)
                || same(have.config, wanted.manifest)
                || same(have.manifest, wanted.config)
        })
    }

    /// Whether an image that is absent would be fetched.
    pub const fn fetches(&self, runtime: Runtime, capacity: &Capacity) -> bool {
        match runtime {
            Runtime::Docker | Runtime::Slurm => capacity.fetches_images,
            Runtime::Qemu | Runtime::Virtualbox => self.fetches_disks,
        }
    }

    /// Whether data are there.
    pub fn has_data(&self, wanted: Sha256) -> bool {
        self.datasets.iter().any(|dataset| dataset.sha256 == wanted)
    }

    /// Those of some packages that are not there. Their names may be written in any way.
    pub fn lacking<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut wanted = name::folded_all(wanted);
        wanted.retain(|package| !self.packages.contains(package));
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_match_by_subset_whatever_their_case_and_blanks() {
        let shares = Shares { packages: vec!["geant4".into(), "root".into()], ..Shares::default() };
        assert!(shares.lacking(["ROOT ", "Geant 4"]).is_empty() && shares.lacking([]).is_empty());
        assert_eq!(shares.lacking(["root", "Matlab"]), ["matlab"]);
    }

    #[test]
    fn terms_refuse_by_app_by_requester_and_by_price() {
        let (app, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let (alice, bob) = (Address::repeat_byte(1), Address::repeat_byte(2));
        assert_eq!(Terms::default().refuse(app, alice, 0), None);
        let refuses = |terms: Terms, word: &str| {
            let said = terms.refuse(app, alice, 5).expect("refused");
            assert!(said.contains(word), "{said}");
        };
        refuses(Terms { apps: vec![other], ..Terms::default() }, "app");
        refuses(Terms { refused_apps: vec![app], ..Terms::default() }, "app");
        refuses(Terms { requesters: vec![bob], ..Terms::default() }, "requester");
        refuses(Terms { refused_requesters: vec![alice], ..Terms::default() }, "requester");
        refuses(Terms { min_price: Decimal(6), ..Terms::default() }, "below 6");
        let narrow = Terms { apps: vec![app], requesters: vec![alice], min_price: Decimal(5), ..Terms::default() };
        assert_eq!(narrow.refuse(app, alice, 5), None);
    }

    #[test]
    fn an_announcement_is_signed_whole() {
        let capacity =
            Capacity { slots: 1, cpu_millis: 1, memory_bytes: 1, disk_bytes: 1, network: false, fetches_images: false };
        let said = Announcement { capacity, shares: Shares::default(), terms: Terms::default() };
        let mut other = said.clone();
        other.terms.closed = Some("paused".into());
        let pool = B256::repeat_byte(3);
        assert_ne!(said.statement(pool, 1), other.statement(pool, 1));
        let text = serde_json::to_string(&said).expect("serialises");
        assert_eq!(serde_json::from_str::<Announcement>(&text).expect("what we wrote"), said);
    }
}
