//! What a job sees in its environment: its own variables, its app's, and the task's facts under three families of names.
//!
//! | fact | `BERTH_*` | `IEXEC_*` | `XW*` |
//! |---|---|---|---|
//! | the task | `TASK_ID` | `TASK_ID` | `XWJOBUID` |
//! | the deal | `DEAL_ID` | `DEAL_ID` | |
//! | its index in the request | `TASK_INDEX` | `TASK_INDEX`, `BOT_TASK_INDEX` | |
//! | the deal's tasks: how many, from which index | `BOT_SIZE`, `BOT_FIRST` | `BOT_SIZE`, `BOT_FIRST_INDEX` | |
//! | the task's element of `each` | `EACH` | | |
//! | input folder | `IN` | `IN`, `INPUT_FILES_FOLDER` | `XWDIRINPATH` |
//! | input files: how many, the n-th's name (from 1) | `INPUTS` | `INPUT_FILES_NUMBER`, `INPUT_FILE_NAME_n` | |
//! | data of the machine's own: how many, the n-th's name in the input folder (from 1); those of the deal | `DATASETS`, `DATASET_n` | `DATASET_FILENAME` | |
//! | output folder | `OUT` | `OUT` | |
//! | scratch folder, where the job starts | `SCRATCH` | | `XWSCRATCHPATH` |
//! | the file that standard input comes from | `STDIN` | | `XWSTDINPATH` |
//! | cpu: thousandths of a core; per cent | `CPU_MILLIS` | | `XWCPULOAD` |
//! | memory, disk: bytes | `MEMORY_BYTES`, `DISK_BYTES` | | `XWRAMSIZE`, `XWDISKSPACE` |
//! | arguments, joined by blanks | | | `XWCMDARGS` |
//!
//! Of two variables with one name the task's fact wins, then the job's own, then its app's, then the image's. Nothing of
//! the worker's own environment is passed on.

use alloy::primitives::B256;
use berth_wire::job::{Dataset, Job};
use std::collections::BTreeMap;

/// Read-only inputs.
pub const IN: &str = "/iexec_in";
/// What is put here is the result.
pub const OUT: &str = "/iexec_out";
/// Scratch space and working directory.
pub const SCRATCH: &str = "/iexec";

/// Which task of which deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The task.
    pub task: B256,
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// The deal's first index.
    pub first: u32,
    /// How many tasks the deal has.
    pub size: u32,
}

/// A job's element of `each` and its arguments with every `{}` filled in; `None` if the job is a bag without such an
/// element.
pub(crate) fn arguments(job: &Job, index: u32) -> Option<(Option<String>, Vec<String>)> {
    if job.each.is_empty() {
        return Some((None, job.args.clone()));
    }
    let element = job.each.get(usize::try_from(index).ok()?)?;
    let args = job.args.iter().map(|argument| argument.replace("{}", element)).collect();
    Some((Some(element.clone()), args))
}

/// All variables of a task's job, by name.
pub fn environment(
    place: Place,
    job: &Job,
    app: &BTreeMap<String, String>,
    (each, args): (Option<&str>, &[String]),
    (datasets, dealt): (&[Dataset], Option<&str>),
) -> BTreeMap<String, String> {
    let limits = &job.limits;
    let stdin = job.stdin.as_ref().map(|name| format!("{IN}/{name}"));
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |names: &[&str], value: String| {
        facts.extend(names.iter().map(|name| ((*name).to_owned(), value.clone())));
    };
    fact(&["BERTH_TASK_ID", "IEXEC_TASK_ID", "XWJOBUID"], place.task.to_string());
    fact(&["BERTH_DEAL_ID", "IEXEC_DEAL_ID"], place.deal.to_string());
    fact(&["BERTH_TASK_INDEX", "IEXEC_TASK_INDEX", "IEXEC_BOT_TASK_INDEX"], place.index.to_string());
    fact(&["BERTH_BOT_SIZE", "IEXEC_BOT_SIZE"], place.size.to_string());
    fact(&["BERTH_BOT_FIRST", "IEXEC_BOT_FIRST_INDEX"], place.first.to_string());
    fact(&["BERTH_IN", "IEXEC_IN", "IEXEC_INPUT_FILES_FOLDER", "XWDIRINPATH"], IN.to_owned());
    fact(&["BERTH_INPUTS", "IEXEC_INPUT_FILES_NUMBER"], job.inputs.len().to_string());
    for (number, input) in (1..).zip(&job.inputs) {
        fact(&[format!("IEXEC_INPUT_FILE_NAME_{number}").as_str()], input.name.clone());
    }
    if !datasets.is_empty() {
        fact(&["BERTH_DATASETS"], datasets.len().to_string());
    }
    for (number, dataset) in (1..).zip(datasets) {
        fact(&[format!("BERTH_DATASET_{number}").as_str()], dataset.name.clone());
    }
    if let Some(dealt) = dealt {
        fact(&["IEXEC_DATASET_FILENAME"], dealt.to_owned());
    }
    fact(&["BERTH_OUT", "IEXEC_OUT"], OUT.to_owned());
    fact(&["BERTH_SCRATCH", "XWSCRATCHPATH"], SCRATCH.to_owned());
    fact(&["BERTH_CPU_MILLIS"], limits.cpu_millis.to_string());
    fact(&["XWCPULOAD"], (limits.cpu_millis / 10).to_string());
    fact(&["BERTH_MEMORY_BYTES", "XWRAMSIZE"], limits.memory_bytes.to_string());
    fact(&["BERTH_DISK_BYTES", "XWDISKSPACE"], limits.disk_bytes.to_string());
    fact(&["XWCMDARGS"], args.join(" "));
    if let Some(each) = each {
        fact(&["BERTH_EACH"], each.to_owned());
    }
    if let Some(stdin) = stdin {
        fact(&["BERTH_STDIN", "XWSTDINPATH"], stdin);
    }
    let mut all = app.clone();
    all.extend(job.env.clone());
    all.extend(facts);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_wire::{job::Input, units::Sha256};

    fn job() -> Job {
        Job {
            args: vec!["--tile".into(), "x{}y{}".into()],
            env: BTreeMap::from([("A".into(), "job".into()), ("B".into(), "job".into())]),
            inputs: vec![Input { name: "a.txt".into(), size: 1, sha256: Sha256::of(b"a"), url: None }],
            stdin: Some("a.txt".into()),
            each: vec!["0".into(), "7".into()],
            ..Job::default()
        }
    }

    fn place() -> Place {
        Place { task: B256::repeat_byte(1), deal: B256::repeat_byte(2), index: 1, first: 0, size: 2 }
    }

    #[test]
    fn every_blank_of_an_argument_is_filled() {
        let (each, args) = arguments(&job(), 1).expect("there is an element 1");
        assert_eq!(each.as_deref(), Some("7"));
        assert_eq!(args, ["--tile", "x7y7"]);
        assert_eq!(arguments(&job(), 2), None);
        let alone = Job { each: vec![], ..job() };
        assert_eq!(arguments(&alone, 9), Some((None, alone.args.clone())), "without a bag, {{}} is plain text");
    }

    #[test]
    fn a_task_sees_its_facts_under_all_three_names_and_no_app_overrides_them() {
        let app = BTreeMap::from([
            ("A".to_owned(), "app".to_owned()),
            ("C".to_owned(), "app".to_owned()),
            ("XWJOBUID".to_owned(), "forged".to_owned()),
        ]);
        let (each, args) = arguments(&job(), 1).expect("there is an element 1");
        let genome = Dataset { name: "genome".into(), sha256: Sha256::of(b"acgt") };
        let seen = environment(place(), &job(), &app, (each.as_deref(), &args), (&[genome], Some("genome")));
        let is = |name: &str, value: &str| assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
        for name in ["BERTH_TASK_ID", "IEXEC_TASK_ID", "XWJOBUID"] {
            is(name, &B256::repeat_byte(1).to_string());
        }
        is("A", "job");
        is("B", "job");
        is("C", "app");
        is("BERTH_EACH", "7");
        is("IEXEC_INPUT_FILE_NAME_1", "a.txt");
        is("IEXEC_INPUT_FILES_NUMBER", "1");
        is("XWSTDINPATH", "/iexec_in/a.txt");
        is("BERTH_DATASETS", "1");
        is("BERTH_DATASET_1", "genome");
        is("IEXEC_DATASET_FILENAME", "genome");
        is("XWCPULOAD", "100");
        is("XWCMDARGS", "--tile x7y7");
        is("IEXEC_BOT_SIZE", "2");
    }
}
