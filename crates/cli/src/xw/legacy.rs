//! XtremWeb-HEP's configuration files: what became of each key. `--xwconfig` takes a profile (TOML); given a file of old, it
//! says this of the keys that it finds there.

use crate::hint::Failure;
use std::{fs, path::Path};

const DAEMON: &str = "a worker shares the Docker engine by its section [docker]";
const NOBODY: &str = "no such thing is needed: accounts are keys";
const PUSHED: &str = "tasks are pushed over a socket, and nothing is polled";
const HOOKS: &str = "worker.toml: schedule and [policy.idle] under [policy]; berth worker pause|resume by hand";
const QOS: &str = "whole bags go to a pool, and no worker asks for one job";
const PACKAGES: &str = "worker.toml: packages; a job asks for them by xwsubmit --xwneeds";
const DATA: &str =
    "worker.toml: [[datasets]], each with name, path and digest; a job asks for them by xwsubmit --xwpackage";

/// Keys, and what does it now or why nothing does.
pub(super) const KEYS: &[(&str, &str)] = &[
    // The worker's.
    ("SHAREDAPPS", DAEMON),
    ("SHAREDPACKAGES", PACKAGES),
    ("SHAREDDATAS", DATA),
    ("SHAREDDATASPATH", DATA),
    (
        "ACCEPTBIN",
        "worker.toml: fetch_images under [docker] and [qemu]; without it only what is shared runs, and nothing is fetched",
    ),
    ("INCOMINGCONNECTIONS", "jobs take no connections"),
    ("PROJECT", "worker.toml: requesters and apps under [policy]"),
    ("SANDBOXENABLED", "every job is confined, and nothing turns that off (docs/jobs.md)"),
    ("SANDBOXPATH", "every job is confined by its container, and nothing turns that off (docs/jobs.md)"),
    ("SANDBOXSTARTARGS", "every job is confined by its container, and nothing turns that off (docs/jobs.md)"),
    ("MAXDISKSPACE", "worker.toml: disk under [capacity]"),
    ("MAXRAMSPACE", "worker.toml: memory under [capacity]"),
    ("WORKPOOLSIZE", "worker.toml: slots under [capacity]"),
    ("CPULOAD", "worker.toml: cpu_millis under [capacity]"),
    ("COMPUTINGJOBS", "a worker runs until it is stopped: berth worker drain"),
    ("NOOPTIMEOUT", "a worker runs until it is stopped: berth worker drain"),
    ("TIMEOUT", PUSHED),
    ("TMPDIR", "worker.toml: folder"),
    ("ACTIVATORCLASS", HOOKS),
    ("ACTIVATORDELAY", HOOKS),
    ("ACTIVATIONDATE", HOOKS),
    ("JOBID", QOS),
    ("BATCHID", QOS),
    ("SGID", QOS),
    ("PILOTJOB", QOS),
    ("WALLETPASSWORD", "the password is asked for, or is in --password-file; it never stands in an environment"),
    ("LAUNCHERURL", "programs don't replace themselves: install another version"),
    // The client's.
    ("DISPATCHERS", "profile.toml: rpc, deployment and market; the order book knows the schedulers"),
    ("DATASERVERS", "the pool's scheduler keeps data"),
    ("LOGIN", "profile.toml: account"),
    ("PASSWORD", "profile.toml: password_file"),
    ("X509_USER_PROXY", NOBODY),
    ("X509USERPROXY", NOBODY),
    ("USERCERT", NOBODY),
    ("MANDATINGLOGIN", "whoever pays for another sends the match, or signs for it"),
    ("DELEGATEDREGISTRATION", NOBODY),
    ("KEYSTORE", "profile.toml: keystore"),
    ("LOGGERLEVEL", "the environment variable BERTH_LOG"),
    ("OPTIMIZEZIP", "nothing is zipped"),
    ("COMMHANDLERS", "inputs are files, or URLs with a sha256"),
    // The server's.
    ("ALIVEPERIOD", "scheduler.toml: heartbeat"),
    ("ALIVETIMEOUT", "scheduler.toml: missed_heartbeats"),
    ("MAXRETRY", "a worker that was lost three times with a task does not get it again; its price returns in time"),
    ("SERVERCOMMACL", "scheduler.toml: listen, and a firewall; what is private needs a session"),
    ("SERVERSTATACL", "scheduler.toml: listen, and a firewall; what is private needs a session"),
    ("MARKETORDER", "berth pool order"),
    ("CONTRIBUTETIMEOUTMULTIPLICATOR", "deadlines are the contract's (ADR 0001)"),
    ("REVEALTIMEOUTMULTIPLICATOR", "deadlines are the contract's (ADR 0001)"),
    ("FAKECONTRIBUTE", "a switch of tests"),
    ("FAKEREVEAL", "a switch of tests"),
];

/// Refuses a configuration of old; any other file is somebody else's to read.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    // What can't be read is complained of by whoever reads it next.
    let Ok(text) = fs::read_to_string(path) else { return Ok(()) };
    match found(&text) {
        keys if keys.is_empty() => Ok(()),
        keys => {
            let message = format!("{} is a configuration of XtremWeb-HEP, not a profile", path.display());
            let failure = Failure::usage("config-of-old", message)
                .hint("a profile is a TOML file; `berth devnet up` writes one, docs/cli.md has its settings");
            Err(keys.into_iter().fold(failure, |failure, (key, now)| failure.hint(format!("{key}: {now}"))))
        }
    }
}

/// The keys of old in a text, which are written as they are in Java's properties.
fn found(text: &str) -> Vec<(&'static str, &'static str)> {
    // Keys of old were written in upper case, and a profile's are in lower case.
    let keys = text.lines().filter_map(|line| line.split_once(['=', ':'])).map(|(key, _)| key.trim());
    let keys: Vec<&str> = keys.filter(|key| key.chars().all(|letter| !letter.is_ascii_lowercase())).collect();
    KEYS.iter().filter(|(key, _)| keys.contains(key)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_old_is_told_from_a_profile() {
        let old = "# client\nLOGIN=alice\nPASSWORD : secret\nNONSENSE=1\n";
        assert_eq!(found(old).iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["LOGIN", "PASSWORD"]);
        assert!(found("rpc = \"http://127.0.0.1:8545\"\npassword_file = \"x\"\nkeystore = \"keys\"\n").is_empty());
    }
}
