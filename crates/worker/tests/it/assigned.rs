//! Which assignments a worker takes.

use crate::letters::{DOMAIN, image, letter, pool, worker};
use alloy::primitives::B256;
use berth_protocol::Failure;
use berth_wire::{
    descriptor::{Descriptor, Minimum, Runtime},
    job::{Dataset, Image, Input},
    units::{OciDigest, Sha256},
    worker::{Assign, Capacity, SharedDataset, Shares, Terms},
};
use berth_worker::{
    assignment::{DeclineCode, Objection, Standing, check},
    runtime::Capabilities,
};
use std::time::Duration;

pub(crate) fn standing() -> Standing {
    let capabilities = Capabilities {
        pids: true,
        network: true,
        resumes: true,
        most_data_bytes: 1 << 20,
        least_memory_bytes: 6 << 20,
        parts_of_cores: true,
        network_allowed: false,
        longest: None,
    };
    Standing {
        domain: DOMAIN,
        worker: worker(),
        pool: pool(),
        capacity: Capacity {
            slots: 1,
            cpu_millis: 2_000,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 30,
            network: false,
            fetches_images: false,
        },
        only: None,
        runtimes: vec![(Runtime::Docker, capabilities)],
        shares: Shares::default(),
        terms: Terms::default(),
    }
}

fn declined(assign: &Assign, standing: &Standing) -> (DeclineCode, String) {
    match check(assign, standing) {
        Err(Objection::Decline(code, detail)) => (code, detail),
        other => panic!("{other:?}"),
    }
}

fn refused(assign: &Assign) -> String {
    match check(assign, &standing()) {
        Err(Objection::Failure(Failure::Refused, detail)) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_assignment_is_taken_with_its_element_and_its_apps_environment() {
    let accepted = check(&letter(3, |_, _, _| {}), &standing()).expect("sound");
    assert_eq!(accepted.args, ["e3"]);
    assert_eq!(accepted.environment.get("BERTH_EACH").map(String::as_str), Some("e3"));
    assert_eq!(accepted.environment.get("APP").map(String::as_str), Some("yes"));
    assert_eq!(accepted.wall, Duration::from_secs(60));
    assert_eq!(accepted.image, image());
}

#[test]
fn what_is_for_one_reader_and_for_a_contract_is_refused() {
    let recipient = berth_wire::sealed::Identity::of_wallet(&[1; 65]).recipient();
    let sealed = letter(0, |_, job, _| job.recipient = Some(recipient.clone()));
    assert_eq!(check(&sealed, &standing()).expect("sound").job.recipient, Some(recipient.clone()));
    let both = letter(0, |terms, job, _| {
        job.recipient = Some(recipient.clone());
        terms.callback = alloy::primitives::Address::repeat_byte(9);
    });
    assert!(refused(&both).contains("callback"));
}

#[test]
fn what_is_not_what_it_says_is_declined() {
    type Forgery<'a> = (&'a str, &'a dyn Fn(&mut Assign));
    let forged: [Forgery<'_>; 8] = [
        ("terms", &|a| a.terms.pool_price.0 += 1),
        ("deal", &|a| a.deal = B256::repeat_byte(1)),
        ("task 300", &|a| a.index = 300),
        ("job", &|a| a.job.push(' ')),
        ("job", &|a| a.job_hash = B256::ZERO),
        ("signed", &|a| a.index = 4),
        ("signed", &|a| a.signature = vec![0; 65].into()),
        ("app", &|a| a.app = pool().get()),
    ];
    for (named, forge) in forged {
        let mut assign = letter(3, |_, _, _| {});
        forge(&mut assign);
        let (code, detail) = declined(&assign, &standing());
        assert_eq!(code, DeclineCode::Policy);
        assert!(detail.contains(named), "{named}: {detail}");
    }
    let elsewhere = Standing { domain: berth_protocol::domain::Domain { chain_id: 1, ..DOMAIN }, ..standing() };
    assert!(declined(&letter(3, |_, _, _| {}), &elsewhere).1.contains("signed"), "another chain's");
    let other_pool = letter(3, |terms, _, _| terms.pool = B256::repeat_byte(3));
    assert!(declined(&other_pool, &standing()).1.contains("another pool's"));
}

#[test]
fn what_this_machine_can_not_do_is_left_to_another() {
    let code = |change: fn(&mut berth_wire::job::Job)| declined(&letter(0, |_, job, _| change(job)), &standing()).0;
    assert_eq!(code(|job| job.limits.cpu_millis = 2_001), DeclineCode::NoRoom);
    assert_eq!(code(|job| job.limits.memory_bytes = 2 << 30), DeclineCode::NoRoom);
    assert_eq!(code(|job| job.limits.disk_bytes = 2 << 30), DeclineCode::NoRoom);
    assert_eq!(code(|job| job.limits.network = true), DeclineCode::Policy);
    let mut hurried = standing();
    hurried.runtimes.iter_mut().for_each(|(_, capabilities)| capabilities.longest = Some(Duration::from_secs(59)));
    let (code, detail) = declined(&letter(0, |_, _, _| {}), &hurried);
    assert!(code == DeclineCode::Policy && detail.contains("60 s; here one has 59 s"), "{detail}");
    let engineless = Standing { runtimes: vec![], ..standing() };
    assert_eq!(declined(&letter(0, |_, _, _| {}), &engineless).0, DeclineCode::Engine);
    let picky = Standing { terms: Terms { apps: vec![B256::ZERO], ..Terms::default() }, ..standing() };
    assert_eq!(declined(&letter(0, |_, _, _| {}), &picky).0, DeclineCode::Policy);
}

#[test]
fn data_and_packages_have_to_be_here() {
    let genome = Dataset { name: "genome".into(), sha256: Sha256([4; 32]) };
    let wants = |datasets: Vec<Dataset>, packages: &[&str]| {
        let packages = packages.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        letter(0, move |_, job, _| (job.datasets, job.packages) = (datasets, packages))
    };
    let having = |size: u64| {
        let datasets = vec![SharedDataset { name: "mine".into(), sha256: Sha256([4; 32]), size }];
        let shares = Shares { datasets, packages: vec!["geant4".into(), "root".into()], ..Shares::default() };
        Standing { shares, ..standing() }
    };
    let (code, detail) = declined(&wants(vec![genome.clone()], &[]), &standing());
    assert!(code == DeclineCode::NoData && detail.contains("genome"), "{detail}");
    let (code, detail) = declined(&wants(vec![], &["matlab", "root"]), &having(1));
    assert!(code == DeclineCode::NoPackage && detail.ends_with(": matlab"), "{detail}");
    let both = wants(vec![genome.clone()], &["geant4", "root"]);
    assert_eq!(check(&both, &having(1)).expect("both are here").datasets, [genome]);
    let large = check(&both, &having(2 << 20));
    assert!(matches!(large, Err(Objection::Failure(Failure::Refused, detail)) if detail.contains("bytes")));
    let mut without = having(0);
    without.runtimes.iter_mut().for_each(|(_, capabilities)| capabilities.most_data_bytes = 0);
    assert!(matches!(check(&both, &without), Err(Objection::Failure(Failure::Refused, _))), "empty data, too");
}

#[test]
fn a_deals_dataset_has_to_be_here_too_and_may_take_no_other_name() {
    let of = |name: &str| {
        let dataset = Descriptor::Dataset { version: 1, name: name.into(), sha256: Sha256([5; 32]), size: 3 };
        String::from_utf8(dataset.to_bytes()).expect("text")
    };
    let own = Dataset { name: "own".into(), sha256: Sha256([4; 32]) };
    let mut assign = letter(0, |_, job, _| job.datasets = vec![own.clone()]);
    let shared = |byte| SharedDataset { name: "x".into(), sha256: Sha256([byte; 32]), size: 3 };
    let datasets = vec![shared(4), shared(5)];
    let here = Standing { shares: Shares { datasets, ..Shares::default() }, ..standing() };
    assign.dataset = Some(of("atlas"));
    let accepted = check(&assign, &here).expect("both are here");
    assert_eq!(accepted.datasets.iter().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), ["own", "atlas"]);
    assert_eq!(accepted.environment.get("IEXEC_DATASET_FILENAME").map(String::as_str), Some("atlas"));
    assert_eq!(declined(&assign, &standing()).0, DeclineCode::NoData);
    for wrong in ["own", "..", "a/b"] {
        assign.dataset = Some(of(wrong));
        assert!(matches!(check(&assign, &here), Err(Objection::Failure(Failure::Refused, _))), "{wrong}");
    }
}

#[test]
fn inputs_that_are_elsewhere_are_fetched_only_where_the_owner_lets_it() {
    let url = |url: &str| Some(url.to_owned());
    let input = |url| Input { name: "in".into(), size: 1, sha256: Sha256([1; 32]), url };
    let elsewhere = letter(0, |_, job, _| job.inputs = vec![input(url("https://a.example/in"))]);
    let (code, detail) = declined(&elsewhere, &standing());
    assert!(code == DeclineCode::Policy && detail.contains("fetches none"), "{detail}");
    let fetching = Standing { shares: Shares { fetches_inputs: true, ..Shares::default() }, ..standing() };
    check(&elsewhere, &fetching).expect("it fetches them");
    assert!(
        refused(&letter(0, |_, job, _| job.inputs = vec![input(url("file:///etc/passwd"))])).contains("no address")
    );
}

#[test]
fn an_owner_refuses_by_requester_and_by_price() {
    let under = |terms: Terms| declined(&letter(0, |_, _, _| {}), &Standing { terms, ..standing() });
    let requester = letter(0, |_, _, _| {}).requester;
    let refused = Terms { refused_requesters: vec![requester], ..Terms::default() };
    assert!(under(refused).1.contains("requester"));
    let dear = Terms { min_price: berth_wire::units::Decimal(1_001), ..Terms::default() };
    assert_eq!(under(dear).0, DeclineCode::Policy);
}

#[test]
fn an_owner_who_names_images_shares_no_others() {
    let other = Image { reference: "x:1".into(), config: Some(OciDigest(Sha256([6; 32]))), manifest: None };
    let strict = Standing { only: Some(vec![other]), ..standing() };
    assert_eq!(declined(&letter(0, |_, _, _| {}), &strict).0, DeclineCode::NoImage);
    let same = Image { reference: "called otherwise".into(), ..image() };
    check(&letter(0, |_, _, _| {}), &Standing { only: Some(vec![same]), ..standing() }).expect("shared, by digest");
    let mut fetching = strict;
    fetching.capacity.fetches_images = true;
    check(&letter(0, |_, _, _| {}), &fetching).expect("may be fetched");
}

#[test]
fn what_can_run_nowhere_is_a_result() {
    fn app(descriptor: &mut Descriptor) -> (&mut Option<Image>, &mut Minimum) {
        match descriptor {
            Descriptor::App { image, minimum, .. } => (image, minimum),
            Descriptor::Dataset { .. } | Descriptor::Pool { .. } => panic!("an app"),
        }
    }
    assert!(refused(&letter(0, |_, job, _| job.image = None)).contains("names an image"));
    assert!(refused(&letter(0, |_, _, d| *app(d).0 = Some(image()))).contains("pins its image"));
    let bare = Image { config: None, ..image() };
    let pinned = letter(0, |_, job, d| {
        job.image = None;
        *app(d).0 = Some(bare);
    });
    assert!(refused(&pinned).contains("no digest"));
    assert!(refused(&letter(0, |_, _, d| app(d).1.memory_bytes = 1 << 40)).contains("at least"));
    assert!(refused(&letter(0, |_, job, _| job.limits.memory_bytes = 1 << 20)).contains("memory_bytes"));
    assert!(refused(&letter(2, |_, job, _| job.each.truncate(2))).contains("none for task 2"));
    assert!(refused(&letter(0, |_, job, _| job.version = 2)).contains("version 2"));
    let pool = Descriptor::Pool { version: 1, name: "x".into() };
    assert!(refused(&letter(0, |_, _, d| *d = pool)).contains("a pool's"));
}
