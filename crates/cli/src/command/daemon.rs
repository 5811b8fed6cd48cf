//! The services: each is a library, run here with its configuration and its key until it is told to stop.

use crate::{
    args::{Faulty, MarketRun, SchedulerRun, Serve, WorkerRun, WorkerStep},
    exit::Exit,
    failures::told,
    hint::Failure,
    keys,
    render::{Report, err},
    settings::Settings,
};
use berth_chain::{Class, Deployment, StoreError, signer::Signer};
use berth_fault::Faults;
use berth_market::{ConfigError as MarketConfigError, Market};
use berth_scheduler::{ConfigError as SchedulerConfigError, Scheduler, SchedulerError};
use berth_worker::{ConfigError as WorkerConfigError, WorkerError, journal::JournalError};
use core::error::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled by Ctrl-C and by SIGTERM: services then stop in good order.
pub(super) fn stop_by_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let failed =
        |error: std::io::Error| Failure::new(Exit::Error, "signal", "signals can't be watched").because(&error);
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let token = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it ends with the process, holds nothing, and can't panic")]
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}

fn faults(faulty: Faulty) -> Faults {
    match (faulty.kill_at, faulty.kill_marker) {
        (Some(point), Some(marker)) => Faults::kill_at(point, marker),
        _ => Faults::default(),
    }
}

/// `berth market`
pub(super) async fn market(args: MarketRun) -> Result<Report, Failure> {
    let config = berth_market::Config::load(&args.config)?;
    let stop = stop_by_signal()?;
    let running = Market::start(config, stop).await?;
    err(&format!("the order book listens at http://{}", running.address));
    running.wait().await?;
    Ok(Report::default())
}

/// `berth scheduler`
pub(super) async fn scheduler(settings: &Settings, args: SchedulerRun) -> Result<Report, Failure> {
    let config = berth_scheduler::Config::load(&args.config)?;
    let key = keys::unlock(settings)?;
    let stop = stop_by_signal()?;
    let running = Scheduler::start(config, key, faults(args.faulty), stop).await?;
    err(&format!("the scheduler listens at http://{}", running.address));
    running.wait().await?;
    Ok(Report::default())
}

/// `berth devnet serve`: order book and scheduler in one process. When one ends, so does the other.
pub(super) async fn serve(settings: &Settings, args: Serve) -> Result<Report, Failure> {
    let market = berth_market::Config::load(&args.market_config)?;
    let config = berth_scheduler::Config::load(&args.scheduler_config)?;
    let key = keys::unlock(settings)?;
    let stop = stop_by_signal()?;
    let market = Market::start(market, stop.clone()).await?;
    err(&format!("the order book listens at http://{}", market.address));
    let scheduler = Scheduler::start(config, key, faults(args.faulty), stop.clone()).await?;
    err(&format!("the scheduler listens at http://{}", scheduler.address));
    let (market, scheduler) = tokio::join!(
        async {
            let done = market.wait().await;
            stop.cancel();
            done
        },
        async {
            let done = scheduler.wait().await;
            stop.cancel();
            done
        }
    );
    market?;
    scheduler?;
    Ok(Report::default())
}

/// `berth worker run`
pub(super) async fn worker(settings: &Settings, args: WorkerRun) -> Result<Report, Failure> {
    let config = berth_worker::Config::load(&args.config)?;
    let deployment = Deployment::load(settings.deployment()?)?;
    let key: Signer = keys::open_file(&config.key, settings.password_file())?;
    let stop = stop_by_signal()?;
    err(&format!("worker {} starts", key.address()));
    Box::pin(berth_worker::run(config, key, deployment, faults(args.faulty), stop)).await?;
    Ok(Report::default())
}

/// `berth worker step`
pub(super) async fn step(args: WorkerStep) -> Result<Report, Failure> {
    let stop = stop_by_signal()?;
    let done = berth_worker::runtime::slurm::step(&args.folder, &args.run, &args.node, stop).await;
    done.map_err(|error| told(exit_of(error.class()), "worker-step", &error, Some(error.hint())))?;
    Ok(Report::default())
}

fn exit_of(class: Class) -> Exit {
    match class {
        Class::Refused => Exit::Refused,
        Class::Retry | Class::Bug => Exit::Error,
    }
}

impl From<MarketConfigError> for Failure {
    fn from(error: MarketConfigError) -> Self {
        told(Exit::Usage, "market-config", &error, Some(error.hint()))
    }
}

impl From<SchedulerConfigError> for Failure {
    fn from(error: SchedulerConfigError) -> Self {
        told(Exit::Usage, "scheduler-config", &error, error.hint())
    }
}

impl From<WorkerConfigError> for Failure {
    fn from(error: WorkerConfigError) -> Self {
        told(Exit::Usage, "worker-config", &error, Some(error.hint()))
    }
}

impl From<SchedulerError> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever has no exit code of its own goes by its class")]
    fn from(error: SchedulerError) -> Self {
        match error {
            SchedulerError::Config(error) => error.into(),
            SchedulerError::Deployment(error) => error.into(),
            SchedulerError::Rpc(error) => error.into(),
            SchedulerError::Listen { .. } => service(Exit::Preflight, "port-taken", &error, error.hint()),
            // What can't be read may be anything; what is another's is refused.
            SchedulerError::Database { source: StoreError::Database(_) | StoreError::Migrate(_), .. } => {
                service(Exit::Error, "database", &error, error.hint())
            }
            _ => service(exit_of(error.class()), "scheduler", &error, error.hint()),
        }
    }
}

impl From<WorkerError> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever has no exit code of its own goes by its class")]
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Config(error) => error.into(),
            WorkerError::NothingShared(_) | WorkerError::Runtime(_) => {
                service(Exit::Preflight, "no-engine", &error, Some(error.hint()))
            }
            // What can't be read may be anything; what is another's is refused.
            WorkerError::Journal(JournalError::Open { .. } | JournalError::Migrate { .. }) => {
                service(Exit::Error, "database", &error, Some(error.hint()))
            }
            _ => service(exit_of(error.class()), "worker", &error, Some(error.hint())),
        }
    }
}

fn service<E: Error + 'static>(exit: Exit, code: &str, error: &E, hint: Option<String>) -> Failure {
    told(exit, code, error, hint)
}
