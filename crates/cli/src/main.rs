//! `berth`: the only binary. It answers to users, and runs each of the services. Called by a name of XtremWeb-HEP's, it is
//! that tool ([`xw`]).
//!
//! In order: [`args`] what was typed, [`intent`] what is meant, [`command`] what is done, [`render`] what is said, with
//! [`hint`] and [`exit`] for what goes wrong. [`settings`] and [`keys`] say where everything is and who asks; [`chain`],
//! [`book`] and [`scheduler`] are the three that commands talk to.

mod args;
mod book;
mod chain;
mod command;
mod exit;
mod failures;
mod hint;
mod intent;
mod keys;
mod render;
mod scheduler;
mod settings;
#[cfg(test)]
mod snapshots;
mod xw;

use args::Berth;
use clap::Parser as _;
use exit::Exit;
use std::{io::IsTerminal as _, process::ExitCode};

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if let Some(name) = words.next().as_deref().and_then(xw::called) {
        watch();
        let (json, result) = runtime().block_on(xw::run(&name, words));
        return render::finish(json, result).into();
    }
    let berth = match Berth::try_parse() {
        Ok(berth) => berth,
        Err(error) => {
            // Help and version come this way too, and go to stdout.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let json = berth.global.json;
    watch();
    let result = runtime().block_on(command::run(berth));
    render::finish(json, result).into()
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("the system gives threads to a program that just started")
}

/// Logs of the services and of the libraries below, to stderr; `BERTH_LOG` says how much.
fn watch() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("BERTH_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::WARN.into())
        .from_env_lossy();
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
}
