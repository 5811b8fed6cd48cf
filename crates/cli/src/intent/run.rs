//! `berth run`, checked.

use super::{InputFile, Subject, each, inputs, units};
use crate::{args, hint::Failure};
use alloy::primitives::Address;
use berth_wire::job::{Job, JobError, Limits};
use std::{collections::BTreeMap, path::PathBuf};

/// A job to run, but for what only the network knows.
#[derive(Debug)]
pub(crate) struct RunIntent {
    /// What to run.
    pub(crate) subject: Subject,
    /// The files that it gets, by name.
    pub(crate) inputs: Vec<InputFile>,
    /// All of the job but its image and inputs.
    pub(crate) job: Job,
    /// 0 and 1 mean one worker.
    pub(crate) trust: u32,
    /// In tokens, whose decimals only the chain knows.
    pub(crate) max_price: Option<String>,
    /// Seconds.
    pub(crate) timeout: Option<u32>,
    /// Only this pool.
    pub(crate) pool: Option<String>,
    /// Whom the result is brought to.
    pub(crate) callback: Option<Address>,
    /// Pay in what is missing.
    pub(crate) deposit: bool,
    /// Who else pays.
    pub(crate) sponsor: Option<Sponsor>,
    /// Where the result goes.
    pub(crate) out: Option<PathBuf>,
    /// Don't wait for it.
    pub(crate) detach: bool,
    /// Only say what would happen.
    pub(crate) dry_run: bool,
    /// The exit code is the job's.
    pub(crate) job_exit: bool,
}

/// Another who is to pay.
#[derive(Debug)]
pub(crate) struct Sponsor {
    /// A name in the keystore, or an address.
    pub(crate) payer: String,
    /// Where the request goes.
    pub(crate) request: PathBuf,
}

impl RunIntent {
    /// Checks what was typed.
    pub(crate) fn new(args: args::Run) -> Result<Self, Failure> {
        let (inputs, stdin) = inputs::gather(&args.input, args.stdin.as_deref())?;
        let each = args.each.as_deref().map_or(Ok(Vec::new()), each::parse)?;
        let job = Job {
            version: 1,
            image: None,
            args: args.args,
            env: environment(&args.env)?,
            inputs: Vec::new(),
            stdin: None,
            limits: limits(&args.limits)?,
            outputs: args.output,
            each,
        };
        job.check().map_err(|error| bad_job(&error))?;
        let timeout = args.timeout.map(|text| units::seconds("--timeout", &text)).transpose()?;
        Ok(Self {
            subject: Subject::parse(&args.subject)?,
            inputs,
            job: Job { stdin, ..job },
            trust: args.trust,
            max_price: args.max_price,
            timeout,
            pool: args.pool,
            callback: args.callback.as_deref().map(callback).transpose()?,
            deposit: args.deposit,
            sponsor: args.payer.zip(args.request).map(|(payer, request)| Sponsor { payer, request }),
            out: args.out,
            detach: args.detach,
            dry_run: args.dry_run,
            job_exit: args.exit_code == args::ExitFrom::Task,
        })
    }

    /// How many tasks.
    pub(crate) fn volume(&self) -> u32 {
        u32::try_from(self.job.each.len()).unwrap_or(u32::MAX).max(1)
    }
}

fn callback(text: &str) -> Result<Address, Failure> {
    let wrong = |what: &str| Failure::usage("callback", format!("--callback: `{text}` {what}"));
    match text.parse::<Address>() {
        Ok(address) if address.is_zero() => Err(wrong("is nobody").hint("leave it out where there is none")),
        Ok(address) => Ok(address),
        Err(_) => Err(wrong("is no address").hint("write 0x and 40 hexadecimal digits")),
    }
}

/// A job that no worker would take.
pub(crate) fn bad_job(error: &JobError) -> Failure {
    Failure::usage("job", error.to_string()).hint("`berth run --help` tells what a job may have")
}

fn environment(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut env = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::usage("env", format!("--env: `{pair}` has no `=`"))
                .hint("write KEY=VALUE: a job sees nothing of your environment but what you give it")
        })?;
        if env.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage("env", format!("--env: {key} is given twice")).hint("give it once"));
        }
    }
    Ok(env)
}

fn limits(args: &args::Limits) -> Result<Limits, Failure> {
    Ok(Limits {
        cpu_millis: units::cpu_millis(&args.cpu)?,
        memory_bytes: units::bytes("--memory", &args.memory)?,
        disk_bytes: units::bytes("--disk", &args.disk)?,
        pids: args.pids,
        network: args.network,
    })
}
