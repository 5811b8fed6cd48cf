//! One module a noun. A command gets what was typed, does its work, and reports; it prints nothing itself.

mod account;
pub(crate) mod app;
pub(crate) mod asset;
mod bond;
mod daemon;
mod dataset;
mod deploy;
mod devnet;
pub(crate) mod owner;
mod pool;
pub(crate) mod run;
mod sponsored;
mod stance;
pub(crate) mod task;
mod test;
mod wallet;

use crate::{
    args::{self, Berth, Command, Devnet, Worker},
    hint::Failure,
    render::Report,
    settings::Settings,
    xw,
};

use berth_worker::stance::Stance;

/// Does what was asked.
pub(crate) async fn run(berth: Berth) -> Result<Report, Failure> {
    let (settings, json) = (Settings::load(&berth.global), berth.global.json);
    match berth.command {
        // A devnet has a folder of its own, and reads nobody's profile.
        Command::Devnet(Devnet::Up(args)) => devnet::up(args).await,
        Command::Devnet(Devnet::Down(args)) => devnet::down(&args).await,
        Command::Devnet(Devnet::Status(args)) => devnet::status(&args).await,
        Command::Devnet(Devnet::Serve(args)) => daemon::serve(&settings?, args).await,
        Command::Deploy(args) => Box::pin(deploy::deploy(&settings?, &args)).await,
        Command::Wallet(command) => match command {
            args::Wallet::New(args) => wallet::new(&settings?, &args),
            args::Wallet::List => wallet::list(&settings?),
            args::Wallet::Show(args) => wallet::show(&settings?, &args).await,
            args::Wallet::Recipient => wallet::recipient(&settings?),
        },
        Command::Account(command) => match command {
            args::Account::Deposit(args) => account::deposit(&settings?, &args).await,
            args::Account::Withdraw(args) => account::withdraw(&settings?, &args).await,
            args::Account::Show(args) => account::show(&settings?, &args).await,
            args::Account::CancelOrders => account::cancel_orders(&settings?).await,
            args::Account::CancelOrder(args) => stance::cancel_order(&settings?, &args).await,
            args::Account::ApproveOrder(args) => stance::approve_order(&settings?, &args).await,
            args::Account::Sponsor(args) => stance::sponsor(&settings?, &args).await,
        },
        Command::Pool(command) => match command {
            args::Pool::Create(args) => pool::create(&settings?, &args).await,
            args::Pool::Order(args) => pool::order(&settings?, *args).await,
            args::Pool::Show(args) => pool::show(&settings?, &args).await,
        },
        Command::Worker(command) => match command {
            Worker::Bond(args) => bond::bond(&settings?, &args).await,
            Worker::Unbond(args) => bond::unbond(&settings?, &args).await,
            Worker::WithdrawBond(args) => bond::withdraw(&settings?, &args).await,
            Worker::Enlist(args) => bond::enlist(&settings?, &args).await,
            Worker::Status(args::WorkerStatus { config: Some(config), .. }) => owner::status(&config),
            Worker::Status(args) => bond::status(&settings?, &args).await,
            Worker::List(args) => owner::list(&settings?, &args).await,
            Worker::Pause(args) => owner::take(&args, Stance::Paused).await,
            Worker::Resume(args) => owner::take(&args, Stance::Open).await,
            Worker::Drain(args) => owner::take(&args, Stance::Draining).await,
            Worker::Run(args) => daemon::worker(&settings?, args).await,
            // A node has nobody's profile.
            Worker::Step(args) => daemon::step(args).await,
        },
        Command::App(command) => match command {
            args::App::Register(args) => app::register_app(&settings?, args).await,
            args::App::Order(args) => app::order(&settings?, &args).await,
            args::App::List => app::list(&settings?).await,
        },
        Command::Dataset(command) => match command {
            args::Dataset::Digest(args) => dataset::digest(&args).await,
            args::Dataset::Register(args) => dataset::register_dataset(&settings?, &args).await,
            args::Dataset::Order(args) => dataset::order(&settings?, &args).await,
            args::Dataset::List => dataset::list(&settings?).await,
        },
        // The largest by far: kept off everybody else's stack.
        Command::Run(args) => Box::pin(run::run(&settings?, *args, json)).await,
        Command::Test(args) => Box::pin(test::test(*args)).await,
        Command::Task(command) => match command {
            args::Task::List(args) => task::list(&settings?, &args).await,
            args::Task::Show(args) => task::show(&settings?, &args).await,
            args::Task::Logs(args) => task::logs(&settings?, &args, json).await,
            args::Task::Result(args) => task::fetch(&settings?, args).await,
            args::Task::Deliver(args) => task::deliver(&settings?, &args).await,
            args::Task::Match(args) => sponsored::task_match(&settings?, &args).await,
        },
        Command::Scheduler(args) => daemon::scheduler(&settings?, args).await,
        Command::Market(args) => daemon::market(args).await,
        Command::Xw(args::Xw::Install(args)) => xw::install(&args),
        Command::Xw(args::Xw::List) => Ok(xw::list()),
    }
}
