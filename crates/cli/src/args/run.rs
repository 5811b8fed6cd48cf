//! `berth run` and `berth task`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `berth run`
#[derive(Debug, Args)]
#[command(after_help = "IMAGE is an image of the local Docker engine (`busybox`), or one by digest\n\
    (`name@sha256:…`, `sha256:…`). APP is an asset id, or the name of an app in the order book;\n\
    `app:NAME` and `image:NAME` say which is meant.\n\n\
    Examples:\n  \
    berth run busybox -- echo hello\n  \
    berth run busybox --input notes.txt -- wc -w /iexec_in/notes.txt\n  \
    berth run busybox --data genome=sha256:9f… --package blast -- ls /iexec_in/genome\n  \
    berth run render --each 0..16 --out tiles -- --tile {}\n  \
    berth run busybox --follow -- sh -c 'for i in 1 2 3; do echo $i; sleep 1; done'\n  \
    berth run busybox --max-price 0.5 --timeout 2m --detach -- sleep 60\n  \
    berth run busybox --encrypt -- cat /proc/self/mounts\n  \
    berth run busybox --payer 0x52… --request request.json -- date   (another pays)")]
pub(crate) struct Run {
    /// What to run
    #[arg(value_name = "IMAGE|APP")]
    pub(crate) subject: String,
    /// The command line; `{}` stands for the element of --each
    #[arg(last = true, value_name = "CMD")]
    pub(crate) args: Vec<String>,
    /// A file for the job's input folder, or an address (http, https) from which workers fetch it, by the sha256 that it has
    /// now; once for each
    #[arg(long, value_name = "[NAME=]FILE|URL")]
    pub(crate) input: Vec<String>,
    /// Data that stay where they are, by their digest: the task runs only where they are, and finds them in its input
    /// folder under this name; once for each
    #[arg(long, value_name = "NAME=DIGEST")]
    pub(crate) data: Vec<String>,
    /// Data that are on offer: the dataset's id, or its name in the order book. Its price is part of the task's
    #[arg(long, value_name = "DATASET")]
    pub(crate) dataset: Option<String>,
    /// Software that the worker has to have, by name; once for each
    #[arg(long, value_name = "NAME")]
    pub(crate) package: Vec<String>,
    /// A file for the job's standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,
    /// An environment variable of the job; once per variable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// One task per element: `0..16`, `a,b,c`, or `@FILE` with one a line
    #[arg(long, value_name = "LIST")]
    pub(crate) each: Option<String>,
    /// Which of the job's output files count; once per path, all if left out
    #[arg(long, value_name = "PATH")]
    pub(crate) output: Vec<String>,
    /// How sure to be: 0 and 1 mean one worker
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) trust: u32,
    /// The most that a task may cost, in tokens, app and pool together
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_price: Option<String>,
    /// Pay in what the account lacks, in the transaction that makes the deal: all of it or nothing happens
    #[arg(long)]
    pub(crate) deposit: bool,
    /// Who pays: sign the request for it and match nothing; `berth task match` does, once the payer has agreed
    #[arg(long, value_name = "ACCOUNT", requires = "request", conflicts_with_all = ["deposit", "detach", "out"])]
    pub(crate) payer: Option<String>,
    /// Where to write the request that another pays for
    #[arg(long, value_name = "FILE", requires = "payer")]
    pub(crate) request: Option<PathBuf>,
    /// The longest that one task may run; what the pool allows, up to 10m, if left out
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Only this pool: its id or name
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
    /// A contract that is to have what the job leaves for it: `callback-data` of /iexec_out/computed.json
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) callback: Option<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Have the worker encrypt the result, and all that the job prints, to this account's own key, which nobody else has
    #[arg(long, conflicts_with = "encrypt_to")]
    pub(crate) encrypt: bool,
    /// The same to somebody's key: what `berth wallet recipient` or `age-keygen` shows, `age1…`
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) encrypt_to: Option<String>,
    /// The file of that key, as age has it, where it is yours: then the result is opened here
    #[arg(long, value_name = "FILE", requires = "encrypt_to")]
    pub(crate) identity: Option<PathBuf>,
    /// iExec's, for an enclave: refused
    #[arg(long, value_name = "TAGS", hide = true)]
    pub(crate) tag: Option<String>,
    /// iExec's, for an enclave: refused
    #[arg(long, value_name = "SECRET", hide = true)]
    pub(crate) secret: Vec<String>,
    /// Folder for the result; `berth-` and the deal's first digits if left out
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Match, say which deal it is, and return
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Show what the job prints while it prints it; for one task of trust 0 or 1
    #[arg(long, short, conflicts_with_all = ["detach", "dry_run"])]
    pub(crate) follow: bool,
    /// Say what would be matched, signed and paid; sign and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What the exit code tells: `berth`'s own codes, or `task`: the job's
    #[arg(long, value_enum, default_value_t = ExitFrom::Berth, value_name = "WHOSE")]
    pub(crate) exit_code: ExitFrom,
}

impl Run {
    /// A job of this command line, of one task, with all else left out.
    pub(crate) const fn bare(subject: String, args: Vec<String>, limits: Limits) -> Self {
        Self {
            subject,
            args,
            input: Vec::new(),
            data: Vec::new(),
            dataset: None,
            package: Vec::new(),
            stdin: None,
            env: Vec::new(),
            each: None,
            output: Vec::new(),
            trust: 1,
            max_price: None,
            deposit: false,
            payer: None,
            request: None,
            timeout: None,
            pool: None,
            callback: None,
            limits,
            encrypt: false,
            encrypt_to: None,
            identity: None,
            tag: None,
            secret: Vec::new(),
            out: None,
            detach: false,
            follow: false,
            dry_run: false,
            exit_code: ExitFrom::Berth,
        }
    }
}

/// `berth test`
#[derive(Debug, Args)]
#[command(
    after_help = "The job runs on the Docker engine here, confined and limited as workers do it. Nothing is signed, sent or\n\
    paid. With --twice the same job runs twice, and every file that differs is named: workers who answer\n\
    differently never agree, and a replicated job of that kind is a failure.\n\n\
    Examples:\n  berth test busybox -- sh -c 'date > /iexec_out/x'\n  \
    berth test busybox --twice --input notes.txt -- wc -w /iexec_in/notes.txt"
)]
pub(crate) struct Test {
    /// What to run: an image of the local engine, or one by digest that it has
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Run it twice, and say what differs
    #[arg(long)]
    pub(crate) twice: bool,
    #[command(flatten)]
    pub(crate) run: Tried,
}

/// The parts of a job that matter on one machine.
#[derive(Debug, Args)]
pub(crate) struct Tried {
    /// The command line
    #[arg(last = true, value_name = "CMD")]
    args: Vec<String>,
    /// A file for the job's input folder; once per file
    #[arg(long, value_name = "FILE|NAME=FILE")]
    input: Vec<String>,
    /// A file for the job's standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// An environment variable of the job; once per variable
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Which of the job's output files count; once per path, all if left out
    #[arg(long, value_name = "PATH")]
    output: Vec<String>,
    /// The longest that it may run; 10m if left out
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

impl Tried {
    /// As `berth run` would take it.
    pub(crate) fn into_run(self, image: String) -> Run {
        let Self { args, input, stdin, env, output, timeout, limits } = self;
        Run { input, stdin, env, output, timeout, ..Run::bare(image, args, limits) }
    }
}

/// What a job may use.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Cores: `1`, `0.5`
    #[arg(long, value_name = "CORES", default_value = "1")]
    pub(crate) cpu: String,
    /// Memory: `256M`, `2G`
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub(crate) memory: String,
    /// Output folder: `64M`
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub(crate) disk: String,
    /// Processes and threads at one time; 64, and for a virtual machine all of its own, if left out
    #[arg(long, value_name = "N")]
    pub(crate) pids: Option<u32>,
    /// Let the job use the network, where a worker allows it
    #[arg(long)]
    pub(crate) network: bool,
}

/// Whose exit code `run` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExitFrom {
    /// Berth's own.
    Berth,
    /// The job's.
    Task,
}

/// `berth task …`
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// The account's tasks, latest deal first
    List(TaskList),
    /// All about one task
    Show(TaskShow),
    /// What a task printed
    Logs(TaskLogs),
    /// Download a task's result and verify it against the chain
    Result(TaskResult),
    /// Bring a task's result to the contract that its deal names as its callback
    Deliver(TaskDeliver),
    /// Make the deal of a request that another pays for, which `berth run --payer` has written
    Match(TaskMatch),
}

/// `berth task match`
#[derive(Debug, Args)]
#[command(
    after_help = "Anybody may: the account pays the gas, and the payer all else. The payer itself needs no consent.\n\n\
    Examples:\n  berth task match request.json --consent consent.json\n  \
    berth task match request.json --account payer"
)]
pub(crate) struct TaskMatch {
    /// What `berth run --payer` wrote
    #[arg(value_name = "REQUEST")]
    pub(crate) request: PathBuf,
    /// What `berth account sponsor --out` wrote; needed where somebody else than the payer sends the match
    #[arg(long, value_name = "FILE")]
    pub(crate) consent: Option<PathBuf>,
}

/// `berth task deliver`
#[derive(Debug, Args)]
#[command(after_help = "Anybody who can download the result may, once: the account pays the gas.\n\n\
    Examples:\n  berth task deliver 0x6f…\n  berth task deliver 0x1c…:3")]
pub(crate) struct TaskDeliver {
    /// The task's id, or DEAL:INDEX
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
}

/// `berth task list`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth task list\n  berth task list --account alice --limit 5")]
pub(crate) struct TaskList {
    /// How many deals at the most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
}

/// `berth task show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth task show 0x6f…\n  berth task show 0x1c…:3   (the deal's task 3)")]
pub(crate) struct TaskShow {
    /// The task's id, or DEAL:INDEX
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
}

/// `berth task logs`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth task logs 0x6f…\n  berth task logs 0x1c…:3 2>errors.txt\n  \
    berth task logs 0x6f… --follow")]
pub(crate) struct TaskLogs {
    /// The task's id, or DEAL:INDEX
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// Show what comes while it comes, to the task's end; for tasks of trust 0 or 1
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// A file of keys, as age has it, for a result that is encrypted to another key than the account's
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}

/// `berth task result`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  berth task result 0x6f… --out result\n  berth task result 0x1c…:3\n  berth task result 0x1c…:3 --partial --out what-it-left"
)]
pub(crate) struct TaskResult {
    /// The task's id, or DEAL:INDEX; a deal's id for all of its tasks
    #[arg(value_name = "TASK|DEAL")]
    pub(crate) task: String,
    /// Folder for the result; `berth-` and the deal's first digits if left out
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// What the exit code tells: `berth`'s own codes, or `task`: the job's
    #[arg(long, value_enum, default_value_t = ExitFrom::Berth, value_name = "WHOSE")]
    pub(crate) exit_code: ExitFrom,
    /// Fetch what a job had written when it was stopped for time or memory: no result, and not part of the agreed digest
    #[arg(long)]
    pub(crate) partial: bool,
    /// A file of keys, as age has it, for a result that is encrypted to another key than the account's
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}
