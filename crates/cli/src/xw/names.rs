//! Every name that XtremWeb-HEP had on a command line, and what answers to it now. `docs/from-xtremweb.md` says the same
//! for people; a test holds the two together.

/// What a name of old does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A tool that works.
    Does(Tool),
    /// Another command does it now: which.
    Now(&'static str),
    /// Nothing does it: why.
    Gone(&'static str),
}

/// The tools that work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// Lists applications.
    Apps,
    /// Registers an application.
    SendApp,
    /// Registers Docker, or a container image, as an application.
    AddDocker,
    /// Registers a virtual machine as an application.
    AddVirtualBox,
    /// Submits a job.
    Submit,
    /// Lists jobs; with a status of old, only those that have it.
    Works(Option<&'static str>),
    /// Downloads results.
    Results,
    /// Removes what can be removed.
    Remove,
    /// Puts data into the pool's store.
    SendData,
    /// Lists one's own data.
    Datas,
    /// Downloads one's own data.
    Download,
    /// Lists workers, and what they share.
    Workers,
    /// Says the version.
    Version,
    /// Says what there is.
    Help,
}

impl Tool {
    /// How it is called.
    pub(super) const fn usage(self) -> &'static str {
        match self {
            Self::Apps => "xwapps [UID|URI|NAME ...]",
            Self::SendApp => "xwsendapp NAME DOCKER|VIRTUALBOX|QEMU|SLURM [OPTIONS]",
            Self::AddDocker => "xwadddocker.sh --name NAME [--image IMAGE] [OPTIONS]",
            Self::AddVirtualBox => "xwaddvbapp.sh --livecd FILE [--name NAME] [OPTIONS]",
            Self::Submit => "xwsubmit APP [OPTIONS] [--] [COMMAND LINE]",
            Self::Works(_) => "xwworks [UID|URI ...] [OPTIONS]",
            Self::Results => "xwresult [UID|URI ...] [OPTIONS]",
            Self::Remove => "xwrm UID|URI ...",
            Self::SendData => "xwsenddata [NAME] FILE [OPTIONS]",
            Self::Datas => "xwdatas [UID|URI|NAME ...]",
            Self::Download => "xwdownload UID|URI|NAME ... [OPTIONS]",
            Self::Workers => "xwworkers [UID ...] [OPTIONS]",
            Self::Version => "xwversion [--xwverbose]",
            Self::Help => "xwhelp",
        }
    }

    /// What it does, in a line.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Apps => "applications that are registered, with type, image, owner and price",
            Self::SendApp => "register an application",
            Self::AddDocker => "register Docker, or a container image, as an application",
            Self::AddVirtualBox => "register a virtual machine's disk or live CD as an application",
            Self::Submit => "submit a job, and pay for it; prints its URI",
            Self::Works(_) => "your jobs, and how they go",
            Self::Results => "download results, each verified against the chain",
            Self::Remove => "remove data, results, and jobs that wait",
            Self::SendData => "put a file into the pool's store; prints its URI",
            Self::Datas => "your data in the pool's store",
            Self::Download => "download your data, verified",
            Self::Workers => "workers, and what they share",
            Self::Version => "the version; with --xwverbose where everything is, and who you are",
            Self::Help => "this list",
        }
    }
}

const GROUPS: &str = "jobs are not grouped after the fact: a bag of tasks is one deal, `berth run --each` (or xwsubmit \
                      --xweach), and labels tell the others apart";
const PEOPLE: &str = "there are no accounts to hand out: whoever has a key and tokens is a user";
const PLACES: &str = "the chain is the database, and `berth` needs no set-up but a profile";
const TUNNEL: &str = "jobs take no connections: what goes in and out are files, and a network only where deal and worker \
                      allow it";

/// All names, in the order of the reference.
pub(super) const NAMES: &[(&str, Answer)] = &[
    ("xwsendapp", Answer::Does(Tool::SendApp)),
    ("xwadddocker.sh", Answer::Does(Tool::AddDocker)),
    ("xwadddockerapp.sh", Answer::Does(Tool::AddDocker)),
    ("xwaddvbapp.sh", Answer::Does(Tool::AddVirtualBox)),
    ("xwapps", Answer::Does(Tool::Apps)),
    ("xwsubmit", Answer::Does(Tool::Submit)),
    ("xwsendwork", Answer::Does(Tool::Submit)),
    ("xwworks", Answer::Does(Tool::Works(None))),
    ("xwstatus", Answer::Does(Tool::Works(None))),
    ("xwworkspending", Answer::Does(Tool::Works(Some("PENDING")))),
    ("xwworksrunning", Answer::Does(Tool::Works(Some("RUNNING")))),
    ("xwworkscompleted", Answer::Does(Tool::Works(Some("COMPLETED")))),
    ("xwworkserror", Answer::Does(Tool::Works(Some("ERROR")))),
    ("xwresult", Answer::Does(Tool::Results)),
    ("xwresults", Answer::Does(Tool::Results)),
    ("xwrm", Answer::Does(Tool::Remove)),
    ("xwsenddata", Answer::Does(Tool::SendData)),
    ("xwdatas", Answer::Does(Tool::Datas)),
    ("xwdownload", Answer::Does(Tool::Download)),
    ("xwworkers", Answer::Does(Tool::Workers)),
    ("xwversion", Answer::Does(Tool::Version)),
    ("xwhelp", Answer::Does(Tool::Help)),
    ("xwtasks", Answer::Now("berth task show TASK")),
    ("xwsendgroup", Answer::Gone(GROUPS)),
    ("xwgroups", Answer::Gone(GROUPS)),
    ("xwgroupworks", Answer::Gone(GROUPS)),
    ("xwsendsession", Answer::Gone(GROUPS)),
    ("xwsessions", Answer::Gone(GROUPS)),
    ("xwsenduser", Answer::Now("berth wallet new NAME")),
    ("xwusers", Answer::Now("berth wallet list")),
    ("xwsendusergroup", Answer::Gone(PEOPLE)),
    ("xwusergroups", Answer::Gone(PEOPLE)),
    ("xwactivate", Answer::Now("berth worker pause|resume|drain, on the worker's machine")),
    (
        "xwchmod",
        Answer::Gone("rights are the rules of signed orders, and an app's owner is the holder of its token on chain"),
    ),
    ("xwcategories", Answer::Now("berth run --help (--cpu, --memory, --disk, --pids, --timeout)")),
    ("xwsendcategory", Answer::Gone("a job asks for what it needs, number by number, and there are no classes of it")),
    ("xwmarketorders", Answer::Now("berth pool show, and berth app list")),
    ("xwapptypes", Answer::Gone("xwsendapp names the types that it knows: DOCKER, VIRTUALBOX, QEMU, SLURM")),
    ("xwcpus", Answer::Gone("binaries are not shipped: an image's digest says which processor it is for")),
    ("xwoses", Answer::Gone("binaries are not shipped: an image brings its own system")),
    ("xwdatatypes", Answer::Gone("data are bytes with a sha256, of no type")),
    ("xwstatuses", Answer::Gone("`xwworks --xwstatus ?` names the statuses that there are")),
    ("xwuserrights", Answer::Gone(PEOPLE)),
    ("xwping", Answer::Now("berth pool show")),
    ("xwalive", Answer::Gone("a worker's heartbeat goes over its socket, every few seconds, by itself")),
    ("xwworkrequest", Answer::Gone("tasks are pushed to workers; `berth worker status` shows what they run")),
    ("xwhub", Answer::Gone(TUNNEL)),
    ("xwproxy", Answer::Gone(TUNNEL)),
    ("xwshell", Answer::Gone("it saved the start of a Java machine; these tools start in milliseconds")),
    ("xwgui", Answer::Gone("every tool prints JSON (--xwformat json) for whatever shows it")),
    ("xwtraces", Answer::Now("berth worker status")),
    ("xtremweb.client", Answer::Now("berth, or any of these tools by its name")),
    ("xtremweb.server", Answer::Now("berth scheduler, with berth market beside it")),
    ("xtremweb.worker", Answer::Now("berth worker run")),
    ("xwconfigure", Answer::Now("berth devnet up on one machine, berth deploy on a chain")),
    ("xtremwebconf.sh", Answer::Gone(PLACES)),
    ("setupDatabase", Answer::Gone(PLACES)),
    ("xwhepgenkeys", Answer::Now("berth wallet new NAME")),
    ("xwhep.bridgedg2sg", Answer::Gone("grids are reached by a worker in front of them, not by a bridge of jobs")),
    ("xwhep.bridgedg2sg.pl", Answer::Gone("grids are reached by a worker in front of them, not by a bridge of jobs")),
    ("xwhep.bridgesg2dg.pm", Answer::Gone("grids are reached by a worker in front of them, not by a bridge of jobs")),
    (
        "xwstartdocker.sh",
        Answer::Gone("a worker runs containers itself, confined; nothing that is uploaded runs beside them"),
    ),
    ("xwstopdocker.sh", Answer::Gone("a worker stops and clears its containers itself, after a crash, too")),
    (
        "xwstartvm.sh",
        Answer::Gone("a worker starts virtual machines itself; nothing that is uploaded runs beside them"),
    ),
    ("xwstopvm.sh", Answer::Gone("a worker stops and clears its virtual machines itself, after a crash, too")),
];

/// What answers to a name.
pub(super) fn answer(name: &str) -> Option<Answer> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, answer)| *answer)
}

/// Whether a program of this name is one of these tools, known or mistyped.
pub(super) fn is_tool(name: &str) -> bool {
    name.starts_with("xw") || answer(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(is_tool("xwapps") && is_tool("xwsubmitt") && is_tool("setupDatabase") && !is_tool("berth"));
    }
}
