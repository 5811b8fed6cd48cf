//! From what a job leaves to a manifest.

use crate::support::Case;
use berth_wire::{manifest::Manifest, units::Sha256};
use berth_worker::digest::{Collected, DigestError, Wanted, collect};

async fn collected(script: &str, outputs: &[&str]) -> Result<Collected, DigestError> {
    let outputs = outputs.iter().map(|path| (*path).to_owned()).collect();
    collect_wanted(script, &Wanted { outputs, callback: false }).await
}

async fn collect_wanted(script: &str, wanted: &Wanted) -> Result<Collected, DigestError> {
    let case = Case::new(script).await;
    let outcome = case.run().await.expect("runs");
    let collected = collect(0, &outcome, wanted, case.request.limits.disk_bytes, &case.request.folder);
    if let Ok(Collected { manifest, .. }) = &collected {
        for blob in manifest.blobs() {
            let kept =
                std::fs::read(case.request.folder.result().join(blob.sha256.to_string())).expect("every blob is kept");
            assert_eq!((Sha256::of(&kept), kept.len() as u64), (blob.sha256, blob.size));
        }
        Manifest::from_bytes(&manifest.to_bytes()).expect("a manifest that everybody can read");
    }
    case.clear().await;
    collected
}

fn paths(collected: &Collected) -> Vec<&str> {
    collected.manifest.files.iter().map(|file| file.path.as_str()).collect()
}

#[tokio::test]
async fn files_of_all_depths_count_in_the_order_of_their_bytes() {
    let script = "cd /iexec_out; mkdir -p a/b empty .hidden; echo 1 > a/b/c; echo 2 > a.txt; echo 3 > Z; echo 4 > .hidden/x; \
                  echo 5 > '..x'; echo 6 > 'with blank'; echo 7 > ä; : > empty.txt; ln a.txt twice";
    let found = collected(script, &[]).await.expect("a result");
    assert_eq!(paths(&found), ["..x", ".hidden/x", "Z", "a.txt", "a/b/c", "empty.txt", "twice", "with blank", "ä"]);
    assert_eq!(found.manifest.stdout, None);
}

#[tokio::test]
async fn without_files_standard_output_is_the_result() {
    let found = collected("mkdir /iexec_out/empty; printf hello", &[]).await.expect("a result");
    assert_eq!(found.manifest.files, []);
    assert_eq!(found.manifest.stdout.map(|content| content.sha256), Some(Sha256::of(b"hello")));
    let flood = collected("yes | head -c 2000000", &[]).await;
    assert!(matches!(&flood, Err(DigestError::Unfit(reason)) if reason.contains("2000000")), "{flood:?}");
}

#[tokio::test]
async fn named_outputs_narrow_what_counts() {
    let script = "cd /iexec_out; mkdir -p a/b ab; echo 1 > a/b/c; echo 2 > a/d; echo 3 > ab/e; echo 4 > f; ln -s / log";
    assert_eq!(paths(&collected(script, &["a/b", "f"]).await.expect("a result")), ["a/b/c", "f"]);
    assert_eq!(paths(&collected(script, &["a"]).await.expect("a result")), ["a/b/c", "a/d"]);
    let absent = collected(script, &["nowhere", "f/g"]).await.expect("a result");
    assert!(absent.manifest.files.is_empty() && absent.manifest.stdout.is_some());
    assert!(collected(script, &[]).await.is_err(), "the link counts when everything does");
}

#[tokio::test]
async fn what_can_not_be_handed_over_is_refused_by_its_name() {
    for (script, named) in [
        ("ln -s /etc/passwd /iexec_out/link", "`link` is a link"),
        ("ln -s .. /iexec_out/up", "`up` is a link"),
        ("mkdir /iexec_out/d; mkfifo /iexec_out/d/pipe", "`d/pipe` is a pipe"),
        ("touch \"$(printf '/iexec_out/a\\nb')\"", "`a\\nb` has a name"),
        ("touch \"$(printf '/iexec_out/\\377')\"", "has a name"),
        ("truncate -s 1G /iexec_out/hole", "hold 1073741824 bytes"),
    ] {
        let refused = collected(script, &[]).await;
        assert!(matches!(&refused, Err(DigestError::Unfit(reason)) if reason.contains(named)), "{script}: {refused:?}");
    }
}

#[tokio::test]
async fn the_same_job_has_the_same_digest_whatever_its_times_and_order() {
    let one = collected("cd /iexec_out; echo 1 > a; sleep 1; echo 2 > b; chmod 600 b", &[]).await.expect("a result");
    let other = collected("cd /iexec_out; echo 2 > b; echo 1 > a; mkdir z", &[]).await.expect("a result");
    assert_eq!(one.manifest.digest(), other.manifest.digest());
    assert_ne!(
        collected("cd /iexec_out; echo 2 > a; echo 1 > b", &[]).await.expect("a result").manifest.digest(),
        one.manifest.digest()
    );
}

#[tokio::test]
async fn computed_json_narrows_what_counts_unless_the_job_does() {
    let says = |path: &str| {
        format!(
            "cd /iexec_out; mkdir d; echo 1 > d/a; echo 2 > b; date +%s%N > when; \
             echo '{{\"deterministic-output-path\":\"{path}\"}}' > computed.json"
        )
    };
    for (path, counted) in [("/iexec_out/d", vec!["d/a"]), ("/iexec_out/d/", vec!["d/a"]), ("/iexec_out/b", vec!["b"])]
    {
        let (one, other) = (collected(&says(path), &[]).await, collected(&says(path), &[]).await);
        let (one, other) = (one.expect("a result"), other.expect("a result"));
        assert_eq!(paths(&one), counted, "{path}");
        assert_eq!(one.digest, other.digest, "what is different each time does not count");
    }
    let whole = collected(&says("/iexec_out"), &[]).await.expect("a result");
    assert_eq!(paths(&whole), ["b", "computed.json", "d/a", "when"]);
    assert_eq!(paths(&collected(&says("/iexec_out/b"), &["d"]).await.expect("a result")), ["d/a"]);
    for (path, why) in [
        ("/iexec_out/absent", "where no file is"),
        ("/iexec_output/b", "not below"),
        ("/iexec_out/../etc", "not below"),
        ("/etc/passwd", "not below"),
        ("b", "not below"),
    ] {
        let refused = collected(&says(path), &[]).await.expect_err(path);
        assert!(matches!(&refused, DigestError::Unfit(text) if text.contains(why)), "{path}: {refused}");
    }
    // A file that says nothing of it, or nothing at all, is an output like any other.
    for said in ["{}", "[]", "nothing"] {
        let plain = collected(&format!("echo '{said}' > /iexec_out/computed.json"), &[]).await.expect("a result");
        assert_eq!(paths(&plain), ["computed.json"], "{said}");
    }
}

#[tokio::test]
async fn consensus_iexec_is_what_counts_where_nothing_else_says() {
    let script = "cd /iexec_out; echo agreed > consensus.iexec; mkdir d; echo x > d/consensus.iexec; date +%s%N > when";
    let (one, other) = (collected(script, &[]).await, collected(script, &[]).await);
    let (one, other) = (one.expect("a result"), other.expect("a result"));
    assert_eq!((paths(&one), one.digest), (vec!["consensus.iexec"], other.digest));
    assert_eq!(paths(&collected(script, &["d"]).await.expect("a result")), ["d/consensus.iexec"]);
    let said = format!("{script}; echo '{{\"deterministic-output-path\":\"/iexec_out/d\"}}' > computed.json");
    assert_eq!(paths(&collected(&said, &[]).await.expect("a result")), ["d/consensus.iexec"]);
    for (other, counted) in
        [("mkdir consensus.iexec; echo 1 > a", Some("a")), ("ln -s /etc/passwd consensus.iexec", None)]
    {
        let found = collected(&format!("cd /iexec_out; {other}"), &[]).await;
        assert_eq!(found.ok().map(|found| found.manifest.files[0].path.clone()).as_deref(), counted, "{other}");
    }
}

/// What a job leaves for a callback, by its script.
async fn called(script: &str, outputs: &[&str]) -> Result<Collected, DigestError> {
    let outputs = outputs.iter().map(|path| (*path).to_owned()).collect();
    collect_wanted(script, &Wanted { outputs, callback: true }).await
}

#[tokio::test]
async fn a_callback_gets_what_computed_json_says_and_the_digest_is_bound_to_it() {
    let script = "echo 7 > /iexec_out/tile; echo '{\"callback-data\":\"0x00FFee\"}' > /iexec_out/computed.json";
    let found = called(script, &[]).await.expect("a result");
    assert_eq!(paths(&found), ["computed.json", "tile"]);
    assert_eq!(Some(found.digest), found.manifest.bound(&[0x00, 0xff, 0xee]));
    // Also where the file itself does not count as a result.
    let narrow = called(script, &["tile"]).await.expect("a result");
    assert_eq!(paths(&narrow), ["tile"]);
    assert_eq!(Some(narrow.digest), narrow.manifest.bound(&[0x00, 0xff, 0xee]));
    // Without a callback it is an output like any other.
    let plain = collected(script, &[]).await.expect("a result");
    assert_eq!((plain.digest, plain.manifest.callback), (plain.manifest.digest(), None));
    assert_ne!(plain.digest, found.digest);
}

#[tokio::test]
async fn a_job_that_leaves_nothing_for_the_callback_leaves_no_bytes() {
    for script in [
        "printf hello",
        "echo '{}' > /iexec_out/computed.json",
        "echo '{\"callback-data\":\"0x\"}' > /iexec_out/computed.json",
    ] {
        let found = called(script, &[]).await.expect("a result");
        assert_eq!(Some(found.digest), found.manifest.bound(&[]), "{script}");
    }
}

#[tokio::test]
async fn what_can_not_be_read_for_a_callback_is_a_failure() {
    for (script, wanted) in [
        ("echo 'callback-data: 0x' > /iexec_out/computed.json", "no JSON object"),
        ("echo '{\"callback-data\":\"12\"}' > /iexec_out/computed.json", "hexadecimal"),
        ("echo '{\"callback-data\":12}' > /iexec_out/computed.json", "hexadecimal"),
        ("echo '{\"callback-data\":\"0x123\"}' > /iexec_out/computed.json", "hexadecimal"),
        ("mkdir /iexec_out/computed.json; echo 1 > /iexec_out/computed.json/x", "not a file"),
        (
            "(printf '{\"callback-data\":\"0x'; head -c 131074 /dev/zero | tr '\\0' 0; printf '\"}') > /iexec_out/computed.json",
            "65537 bytes",
        ),
        ("head -c 300000 /dev/zero | tr '\\0' 0 > /iexec_out/computed.json", "too large"),
    ] {
        let refused = called(script, &[]).await.expect_err(script);
        assert!(matches!(&refused, DigestError::Unfit(text) if text.contains(wanted)), "{script}: {refused}");
    }
}
