//! `berth run`, checked.

use super::{
    Subject, each,
    inputs::{self, Elsewhere, InputFile, Inputs},
    units,
};
use crate::{args, hint::Failure};
use alloy::primitives::Address;
use berth_wire::{
    job::{Dataset, Input, Job, JobError, Limits},
    name,
    sealed::{ParseRecipientError, Recipient},
    units::{OciDigest, Sha256},
};
use std::{collections::BTreeMap, path::PathBuf};

/// A job to run, but for what only the network knows.
#[derive(Debug)]
pub(crate) struct RunIntent {
    /// What to run.
    pub(crate) subject: Subject,
    /// The files that it gets, by name.
    pub(crate) inputs: Vec<InputFile>,
    /// Inputs that workers fetch elsewhere.
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// Inputs that the pool's store has already.
    pub(crate) stored: Vec<Input>,
    /// A dataset on offer: its id or name.
    pub(crate) dataset: Option<String>,
    /// All of the job but its image and inputs.
    pub(crate) job: Job,
    /// Whether the number of processes is the requester's word, or what is usual.
    pub(crate) counts_pids: bool,
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
    /// Who alone is to open the result.
    pub(crate) encrypt: Option<Encrypt>,
    /// The file of further keys.
    pub(crate) identity: Option<PathBuf>,
    /// Where the result goes.
    pub(crate) out: Option<PathBuf>,
    /// Don't wait for it.
    pub(crate) detach: bool,
    /// Show what the job prints while it prints it.
    pub(crate) follow: bool,
    /// Only say what would happen.
    pub(crate) dry_run: bool,
    /// The exit code is the job's.
    pub(crate) job_exit: bool,
}

/// Who alone is to open a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encrypt {
    /// The account itself, by the key that its wallet makes.
    ToAccount,
    /// Whoever has this one's key.
    To(Recipient),
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
        no_enclave(&args)?;
        let Inputs { files, elsewhere, stdin } = inputs::gather(&args.input, args.stdin.as_deref())?;
        let names = files.iter().map(|file| file.name.as_str());
        inputs::apart(names.chain(elsewhere.iter().map(|input| input.name.as_str())))?;
        let each = args.each.as_deref().map_or(Ok(Vec::new()), each::parse)?;
        let job = Job {
            args: args.args,
            env: environment(&args.env)?,
            datasets: datasets(&args.data)?,
            packages: name::folded_all(args.package.iter().map(String::as_str)),
            limits: limits(&args.limits)?,
            outputs: args.output,
            each,
            ..Job::default()
        };
        job.check().map_err(|error| bad_job(&error))?;
        let encrypt = match &args.encrypt_to {
            Some(text) => Some(Encrypt::To(recipient(text)?)),
            None => args.encrypt.then_some(Encrypt::ToAccount),
        };
        if encrypt.is_some() && args.callback.is_some() {
            let message = "--encrypt: a callback's bytes stand on chain, where everybody reads them";
            return Err(Failure::usage("encrypt", message).hint("leave out --callback, or let the result be open"));
        }
        let timeout = args.timeout.map(|text| units::seconds("--timeout", &text)).transpose()?;
        Ok(Self {
            subject: Subject::parse(&args.subject)?,
            inputs: files,
            elsewhere,
            stored: Vec::new(),
            dataset: args.dataset,
            job: Job { stdin, ..job },
            counts_pids: args.limits.pids.is_some(),
            trust: args.trust,
            max_price: args.max_price,
            timeout,
            pool: args.pool,
            callback: args.callback.as_deref().map(callback).transpose()?,
            deposit: args.deposit,
            sponsor: args.payer.zip(args.request).map(|(payer, request)| Sponsor { payer, request }),
            encrypt,
            identity: args.identity,
            out: args.out,
            detach: args.detach,
            follow: args.follow,
            dry_run: args.dry_run,
            job_exit: args.exit_code == args::ExitFrom::Task,
        })
    }

    /// How many tasks.
    pub(crate) fn volume(&self) -> u32 {
        u32::try_from(self.job.each.len()).unwrap_or(u32::MAX).max(1)
    }
}

fn recipient(text: &str) -> Result<Recipient, Failure> {
    text.parse().map_err(|error: ParseRecipientError| {
        Failure::usage("recipient", format!("--encrypt-to: {error}"))
            .hint("ask whoever is to open the result for it: `berth wallet recipient` prints it")
    })
}

/// That nothing is asked for which only an enclave could give.
fn no_enclave(args: &args::Run) -> Result<(), Failure> {
    let asked = args.tag.as_ref().map(|tag| format!("--tag {tag}"));
    match asked.or_else(|| (!args.secret.is_empty()).then(|| "--secret".to_owned())) {
        Some(asked) => {
            Err(Failure::usage("enclave", format!("{asked}: no worker runs jobs in an enclave, or keeps secrets"))
                .hint("leave it out; a worker can read whatever its job is given (docs/jobs.md)"))
        }
        None => Ok(()),
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

/// Reads `NAME=DIGEST`, sorted by name.
fn datasets(texts: &[String]) -> Result<Vec<Dataset>, Failure> {
    let mut datasets = Vec::new();
    for text in texts {
        let hint = "write NAME=sha256:…: `berth worker list` shows what workers share";
        let (name, digest) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage("data", format!("--data: `{text}` has no `=`")).hint(hint))?;
        let sha256 = digest_of(digest)
            .ok_or_else(|| Failure::usage("data", format!("--data: `{digest}` is no digest")).hint(hint))?;
        datasets.push(Dataset { name: name.to_owned(), sha256 });
    }
    datasets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(datasets)
}

/// A digest with or without `sha256:` before it.
pub(crate) fn digest_of(text: &str) -> Option<Sha256> {
    text.parse::<OciDigest>().map(|digest| digest.0).ok().or_else(|| text.parse().ok())
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
        pids: args.pids.unwrap_or(Limits::default().pids),
        network: args.network,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_an_enclave_could_give_is_refused_before_anything_is_paid() {
        let (cpu, memory, disk) = ("1".to_owned(), "256M".to_owned(), "64M".to_owned());
        let limits = args::Limits { cpu, memory, disk, pids: None, network: false };
        let mut run = args::Run::bare("busybox".to_owned(), vec!["date".to_owned()], limits);
        assert!(no_enclave(&run).is_ok());
        run.secret = vec!["1=key".to_owned()];
        assert!(no_enclave(&run).is_err_and(|failure| failure.exit.code() == 2 && !failure.hints.is_empty()));
        run.tag = Some("tee,scone".to_owned());
        assert!(RunIntent::new(run).is_err_and(|failure| failure.message.contains("--tag tee,scone")));
    }
}
