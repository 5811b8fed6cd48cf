//! Every option that XtremWeb-HEP's tools had, and those that are new. Options are known to all tools or to none, as they
//! were: which of them a tool reads, it says itself.

/// What an option of old does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stands alone.
    Flag,
    /// Stands before a value, or has it after `=`.
    Value,
    /// Nothing does what it did; whether it had a value, and why it is gone.
    Gone(bool, &'static str),
}

const REPLICAS: &str = "the pool decides how many replicas run at one time: as few as the trust asked for takes";
const SERVERS: &str = "jobs take no connections: what goes in and out are files";
const SCRIPTS: &str = "a script that an application's owner uploads would run on every worker, outside of any sandbox: the \
                       worker starts and stops containers and machines itself";

/// All of them, old and new.
pub(super) const OPTIONS: &[(&str, Kind)] = &[
    // All tools.
    ("--xwconfig", Kind::Value),
    ("--xwformat", Kind::Value),
    ("--xwverbose", Kind::Flag),
    ("--xwhelp", Kind::Flag),
    ("--xwnoverbose", Kind::Gone(false, "it went with --xwmacro")),
    ("--xwmacro", Kind::Gone(true, "a shell script does it: these tools start in milliseconds")),
    ("--xwxml", Kind::Gone(true, "objects are described by options, and by JSON on the way out")),
    ("--xwcert", Kind::Gone(true, "accounts are keys (`berth wallet new NAME`); no certificate stands for anybody")),
    ("--xwclientloopdelay", Kind::Gone(true, "nothing is polled: an answer comes when there is one")),
    ("--xwoverride", Kind::Gone(false, "nothing is ever overwritten")),
    // Applications and jobs.
    ("--xwenvvar", Kind::Value),
    ("--xwimage", Kind::Value),
    ("--xwprice", Kind::Value),
    ("--xwenv", Kind::Value),
    ("--xwstdin", Kind::Value),
    ("--xwlabel", Kind::Value),
    ("--xwreplica", Kind::Value),
    ("--xwreplicasize", Kind::Gone(true, REPLICAS)),
    ("--xwwallclocktime", Kind::Value),
    ("--xwmaxprice", Kind::Value),
    ("--xwpool", Kind::Value),
    ("--xweach", Kind::Value),
    ("--xwcpu", Kind::Value),
    ("--xwmemory", Kind::Value),
    ("--xwdisk", Kind::Value),
    ("--xwpids", Kind::Value),
    ("--xwnetwork", Kind::Flag),
    ("--xwwait", Kind::Flag),
    ("--xwgroup", Kind::Gone(true, "a bag of tasks is one deal: --xweach")),
    ("--xwsession", Kind::Gone(true, "a bag of tasks is one deal: --xweach")),
    (
        "--xwexpectedhost",
        Kind::Gone(true, "whoever chooses the worker chooses the answer: name a pool (--xwpool), not a machine"),
    ),
    ("--xwpackage", Kind::Gone(true, "an image brings its packages; no worker of this version shares any by name")),
    ("--xwexpectedwork", Kind::Gone(true, "data start no jobs: submit the job when its data are there")),
    ("--xwlistenport", Kind::Gone(true, SERVERS)),
    ("--xwforwardport", Kind::Gone(true, SERVERS)),
    ("--xwforwardaddresses", Kind::Gone(true, SERVERS)),
    // Nothing is ever zipped, and zips stay zips, which is what both asked for.
    ("--xwdontzip", Kind::Flag),
    ("--xwkeepzip", Kind::Flag),
    // Results and data.
    ("--xwstatus", Kind::Value),
    ("--xwout", Kind::Value),
    ("--xwnoerase", Kind::Flag),
    ("--xwerase", Kind::Flag),
    ("--xwnoextract", Kind::Flag),
    // The scripts that register, without `xw`.
    ("--name", Kind::Value),
    ("--image", Kind::Value),
    ("--price", Kind::Value),
    ("--livecd", Kind::Value),
    ("--liveCD", Kind::Value),
    ("--livecduri", Kind::Value),
    ("--hda", Kind::Value),
    ("--hdauri", Kind::Value),
    ("--dry", Kind::Flag),
    ("--yes", Kind::Flag),
    ("--verbose", Kind::Flag),
    ("--debug", Kind::Flag),
    ("--help", Kind::Flag),
    (
        "--default",
        Kind::Gone(true, "a job brings its own data: xwsubmit --xwenv FILE; what all jobs share is in the disk"),
    ),
    (
        "--dockerfile",
        Kind::Gone(true, "no worker builds images: build it here (`docker build -t NAME .`) and give --image NAME"),
    ),
    ("--startsh", Kind::Gone(true, SCRIPTS)),
    ("--stopsh", Kind::Gone(true, SCRIPTS)),
    ("--startcmd", Kind::Gone(true, SCRIPTS)),
    ("--stopcmd", Kind::Gone(true, SCRIPTS)),
];

/// An option, and what is known of it.
pub(super) fn find(name: &str) -> Option<(&'static str, Kind)> {
    OPTIONS.iter().find(|(known, _)| *known == name).copied()
}
