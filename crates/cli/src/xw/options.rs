//! Every option that XtremWeb-HEP's tools had, and those that are new. Options are known to all tools or to none, as they
//! were: which of them a tool reads, it says itself.

/// What an option of old does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stands alone; what it does.
    Flag(&'static str),
    /// Stands before a value, or has it after `=`; what it does.
    Value(&'static str),
    /// Nothing does what it did: why.
    Gone(&'static str),
}

const REPLICAS: &str = "the pool decides how many replicas run at one time: as few as the trust asked for takes";
const SERVERS: &str = "jobs take no connections: what goes in and out are files";
const SCRIPTS: &str = "a script that an application's owner uploads would run on every worker, outside of any sandbox: the \
                       worker starts and stops containers and machines itself";

/// All of them, old and new.
pub(super) const OPTIONS: &[(&str, Kind)] = &[
    // All tools.
    (
        "--xwconfig",
        Kind::Value("a profile, `.berth/profile.toml` if left out; a configuration of old is refused, key by key"),
    ),
    (
        "--xwformat",
        Kind::Value("`short`, `text`, `csv`, `xml`, and now `json`; a word that is none of these is refused"),
    ),
    ("--xwverbose", Kind::Flag("of xwversion: where everything is, and who you are")),
    ("--xwhelp", Kind::Flag("new: how the tool is called")),
    ("--xwnoverbose", Kind::Gone("it went with --xwmacro")),
    ("--xwmacro", Kind::Gone("a shell script does it: these tools start in milliseconds")),
    ("--xwxml", Kind::Gone("objects are described by options, and by JSON on the way out")),
    ("--xwcert", Kind::Gone("accounts are keys (`berth wallet new NAME`); no certificate stands for anybody")),
    ("--xwclientloopdelay", Kind::Gone("nothing is polled: an answer comes when there is one")),
    ("--xwoverride", Kind::Gone("nothing is ever overwritten")),
    // Applications and jobs.
    ("--xwenvvar", Kind::Value("environment of the job, or of the application; commas and `=` in values are kept")),
    ("--xwimage", Kind::Value("the container image: of the local engine, or by digest")),
    ("--xwprice", Kind::Value("new: of xwsendapp: the application's price of a task")),
    (
        "--xwenv",
        Kind::Value(
            "an input: a file, a folder's files, data by UID or URI, or an address (http, https); found under `/iexec_in`",
        ),
    ),
    ("--xwstdin", Kind::Value("the file that standard input comes from")),
    ("--xwlabel", Kind::Value("the job's label; kept on this machine, beside the profile")),
    (
        "--xwreplica",
        Kind::Value("now the trust: answers of so many workers as it takes are compared; none is replicated for ever"),
    ),
    ("--xwreplicasize", Kind::Gone(REPLICAS)),
    ("--xwwallclocktime", Kind::Value("the longest that a task may run: seconds, or `5m`")),
    ("--xwmaxprice", Kind::Value("new: the most that a task may cost")),
    ("--xwpool", Kind::Value("new: only this pool")),
    ("--xweach", Kind::Value("new: a bag of tasks in one deal: `0..16`, `a,b,c`, `@FILE`")),
    ("--xwcpu", Kind::Value("new: cores")),
    ("--xwmemory", Kind::Value("new: memory: MINMEMORY of old")),
    ("--xwdisk", Kind::Value("new: the output folder: MINFREEMASSSTORAGE of old")),
    ("--xwpids", Kind::Value("new: processes and threads")),
    ("--xwnetwork", Kind::Flag("new: let the job use the network, where a worker allows it")),
    ("--xwencrypt", Kind::Flag("new: have the worker encrypt the result to this account's own key")),
    ("--xwwait", Kind::Flag("wait for the job and fetch its result; of old it was read and did nothing")),
    ("--xwgroup", Kind::Gone("a bag of tasks is one deal: --xweach")),
    ("--xwsession", Kind::Gone("a bag of tasks is one deal: --xweach")),
    (
        "--xwexpectedhost",
        Kind::Gone("whoever chooses the worker chooses the answer: name a pool (--xwpool), not a machine"),
    ),
    (
        "--xwpackage",
        Kind::Value("data that workers share: their name, or `NAME=sha256:…`; the job runs where they are"),
    ),
    (
        "--xwneeds",
        Kind::Value("new: software that the worker has to have: NEEDEDPACKAGES of old; commas between names"),
    ),
    ("--xwdataset", Kind::Value("new: a dataset that is on offer: its id or name; it is paid for with the job")),
    ("--xwexpectedwork", Kind::Gone("data start no jobs: submit the job when its data are there")),
    ("--xwlistenport", Kind::Gone(SERVERS)),
    ("--xwforwardport", Kind::Gone(SERVERS)),
    ("--xwforwardaddresses", Kind::Gone(SERVERS)),
    // Nothing is ever zipped, and zips stay zips, which is what both asked for.
    ("--xwdontzip", Kind::Flag("nothing is zipped, so it is as asked")),
    ("--xwkeepzip", Kind::Flag("nothing is unzipped, so it is as asked")),
    // Results and data.
    ("--xwstatus", Kind::Value("only jobs of this status")),
    ("--xwout", Kind::Value("where a result or data go")),
    ("--xwnoerase", Kind::Flag("nothing is erased unless asked, so it is as asked")),
    ("--xwerase", Kind::Flag("new: of xwresults: remove the result's bytes from the pool's store, once they are here")),
    ("--xwnoextract", Kind::Flag("nothing is packed, so it is as asked")),
    // The scripts that register, without `xw`.
    ("--name", Kind::Value("the application's name; for a virtual machine the disk's, if left out")),
    ("--image", Kind::Value("new: the application's own image; without it, every job names one")),
    ("--price", Kind::Value("new: the application's price of a task")),
    ("--livecd", Kind::Value("the live CD: a local file; its sha256 is registered")),
    ("--liveCD", Kind::Value("the same as --livecd")),
    ("--livecduri", Kind::Value("the same as --livecd")),
    ("--hda", Kind::Value("the same as --livecd, for a disk")),
    ("--hdauri", Kind::Value("the same as --hda")),
    ("--dry", Kind::Flag("say what would be registered, and register nothing")),
    ("--yes", Kind::Flag("new: don't ask")),
    ("--verbose", Kind::Flag("print the descriptor, too")),
    ("--debug", Kind::Flag("the same as --verbose")),
    ("--help", Kind::Flag("how the tool is called")),
    ("--default", Kind::Gone("a job brings its own data: xwsubmit --xwenv FILE; what all jobs share is in the disk")),
    (
        "--dockerfile",
        Kind::Gone("no worker builds images: build it here (`docker build -t NAME .`) and give --image NAME"),
    ),
    ("--startsh", Kind::Gone(SCRIPTS)),
    ("--stopsh", Kind::Gone(SCRIPTS)),
    ("--startcmd", Kind::Gone(SCRIPTS)),
    ("--stopcmd", Kind::Gone(SCRIPTS)),
];

/// An option, and what is known of it.
pub(super) fn find(name: &str) -> Option<(&'static str, Kind)> {
    OPTIONS.iter().find(|(known, _)| *known == name).copied()
}
