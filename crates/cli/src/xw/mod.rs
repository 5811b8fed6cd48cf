//! The tools of XtremWeb-HEP: this program under their names, by links that `berth xw install` makes.
//!
//! In order: [`names`] and [`options`] are all that there was and what became of it, [`typed`] a command line as it was
//! typed, one module a tool, [`format`] its output, [`exits`] its exit code, [`uri`] how objects are named. They talk to
//! the same chain, order book and schedulers as `berth`, through the same parts, and keep nothing of their own but the
//! labels of jobs ([`labels`]).

mod apps;
mod data;
mod exits;
mod format;
mod install;
mod labels;
mod legacy;
mod names;
mod options;
mod register;
mod remove;
mod results;
#[cfg(test)]
mod snapshots;
mod submit;
mod typed;
mod uri;
mod workers;
mod works;

pub(crate) use install::{install, list};

use crate::{
    args::Global,
    exit::Exit,
    hint::Failure,
    render::{Report, fields, table},
    settings::Settings,
};
use format::{Format, Objects};
use names::{Answer, Tool};
use options::Kind;
use serde_json::json;
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};
use typed::{Style, Typed};

/// The profile of a user who does not name one.
const PROFILE: &str = ".berth/profile.toml";

/// What a tool is given.
struct Call {
    settings: Settings,
    profile: PathBuf,
    typed: Typed,
    format: Format,
}

/// The tool of old that this program was called by, if it was.
pub(crate) fn called(program: &OsStr) -> Option<String> {
    let name = Path::new(program).file_name()?.to_str()?;
    names::is_tool(name).then(|| name.to_owned())
}

/// Does what the tool does; says whether its answer is JSON.
pub(crate) async fn run(name: &str, args: impl Iterator<Item = OsString>) -> (bool, Result<Report, Failure>) {
    let args: Vec<OsString> = args.collect();
    let (json, result) = match names::answer(name) {
        Some(Answer::Does(tool)) => {
            let (style, allowed) = grammar(tool);
            let loosely = is_json(&args);
            match Typed::parse(args, style, allowed) {
                Ok(typed) => {
                    let format = typed.all("--xwformat").last();
                    (format.is_some_and(|format| format.eq_ignore_ascii_case("json")), tool_run(tool, typed).await)
                }
                Err(failure) => (loosely, Err(failure)),
            }
        }
        Some(answer @ (Answer::Now(_) | Answer::Gone(_))) => (is_json(&args), Err(gone(name, answer))),
        None => (is_json(&args), Err(unknown(name))),
    };
    let coded = |failure: Failure| {
        let exit = Exit::Job(exits::code(&failure));
        translated(Failure { exit, ..failure })
    };
    let result = result.map_err(coded).map(|mut report| {
        report.failure = report.failure.take().map(coded);
        report
    });
    (json, result)
}

/// What `berth`'s flags are called here.
const FLAGS: &[(&str, &str)] = &[
    ("--max-price", "--xwmaxprice"),
    ("--timeout", "--xwwallclocktime"),
    ("--memory", "--xwmemory"),
    ("--trust", "--xwreplica"),
    ("--input", "--xwenv"),
    ("--each", "--xweach"),
    ("--disk", "--xwdisk"),
    ("--pool", "--xwpool"),
    ("--cpu", "--xwcpu"),
    ("--env", "--xwenvvar"),
    ("--out", "--xwout"),
];

/// A failure of the parts that are shared with `berth`, in these tools' words. What names a `berth` command stays.
fn translated(failure: Failure) -> Failure {
    let is_flag_end = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
    let word = |text: String| match text.contains("`berth ") {
        true => text,
        false => FLAGS.iter().fold(text, |text, (flag, here)| {
            let mut parts = text.split(flag);
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, rest| format!("{text}{}{rest}", if is_flag_end(rest) { here } else { flag }))
        }),
    };
    let hints = match &*failure.code {
        "setting" => vec![
            "set it in the profile: --xwconfig FILE, or .berth/profile.toml; docs/cli.md has its settings".to_owned(),
            "`berth devnet up` makes a market on this machine, with a profile".to_owned(),
        ],
        _ => failure.hints.into_iter().map(word).collect(),
    };
    Failure { message: word(failure.message), hints, ..failure }
}

/// Whether JSON was asked for in a command line that can't be read.
fn is_json(args: &[OsString]) -> bool {
    let is = |arg: &OsString| arg.eq_ignore_ascii_case("json");
    args.windows(2).any(|pair| pair[0] == "--xwformat" && is(&pair[1]))
        || args.iter().any(|arg| arg.eq_ignore_ascii_case("--xwformat=json"))
}

/// What is said of a name that does nothing any more.
fn gone(name: &str, answer: Answer) -> Failure {
    let failure = Failure::usage("name-gone", format!("{name}: {}", install::describe(answer)));
    failure.hint("`xwhelp` shows the tools that there are, docs/from-xtremweb.md what became of the others")
}

fn unknown(name: &str) -> Failure {
    Failure::usage("name-unknown", format!("XtremWeb-HEP had no {name}"))
        .hint("`xwhelp` shows the tools that there are")
}

/// How a tool's command line is read: its style, and its own options.
const fn grammar(tool: Tool) -> (Style, &'static [&'static str]) {
    match tool {
        Tool::SendApp => (Style::Client, &["--xwimage", "--xwenvvar", "--xwprice"]),
        Tool::AddDocker => {
            (Style::Script, &["--name", "--image", "--price", "--dry", "--yes", "--verbose", "--debug", "--help"])
        }
        Tool::AddVirtualBox => (
            Style::Script,
            &[
                "--livecd",
                "--liveCD",
                "--livecduri",
                "--hda",
                "--hdauri",
                "--name",
                "--price",
                "--dry",
                "--yes",
                "--verbose",
                "--debug",
                "--help",
            ],
        ),
        Tool::Submit => (
            Style::Client,
            &[
                "--xwimage",
                "--xwenv",
                "--xwstdin",
                "--xwenvvar",
                "--xwlabel",
                "--xwreplica",
                "--xwwallclocktime",
                "--xwmaxprice",
                "--xwpool",
                "--xweach",
                "--xwcpu",
                "--xwmemory",
                "--xwdisk",
                "--xwpids",
                "--xwnetwork",
                "--xwpackage",
                "--xwneeds",
                "--xwdataset",
                "--xwencrypt",
                "--xwwait",
                "--xwdontzip",
                "--xwkeepzip",
            ],
        ),
        Tool::Works(_) => (Style::Client, &["--xwstatus"]),
        Tool::Results => (Style::Client, &["--xwout", "--xwwait", "--xwnoerase", "--xwerase", "--xwnoextract"]),
        Tool::SendData => (Style::Client, &["--xwdontzip", "--xwkeepzip", "--xwpool"]),
        Tool::Download => (Style::Client, &["--xwout", "--xwnoextract"]),
        Tool::Workers => (Style::Client, &["--xwpool"]),
        Tool::Apps | Tool::Remove | Tool::Datas | Tool::Version | Tool::Help => (Style::Client, &[]),
    }
}

async fn tool_run(tool: Tool, typed: Typed) -> Result<Report, Failure> {
    if typed.has("--xwhelp") || typed.has("--help") {
        return Ok(usage(tool));
    }
    let format = typed.one(&["--xwformat"])?.map(Format::parse).transpose()?.unwrap_or_default();
    let profile = PathBuf::from(typed.one(&["--xwconfig"])?.unwrap_or(PROFILE));
    let call = Call { settings: settings(&profile)?, profile, typed, format };
    match tool {
        Tool::Apps => apps::list(&call).await,
        Tool::SendApp => register::send_app(&call).await,
        Tool::AddDocker => register::add_docker(&call).await,
        Tool::AddVirtualBox => register::add_vm(&call).await,
        Tool::Submit => Box::pin(submit::submit(&call)).await,
        Tool::Works(status) => works::list(&call, status).await,
        Tool::Results => Box::pin(results::fetch(&call)).await,
        Tool::Workers => workers::list(&call).await,
        Tool::Version => version(&call),
        Tool::Help => Ok(help()),
        Tool::Remove => remove::remove(&call).await,
        Tool::SendData => data::send(&call).await,
        Tool::Datas => data::list(&call).await,
        Tool::Download => data::download(&call).await,
    }
}

/// The settings of a profile; a configuration of old is refused with what became of each key.
fn settings(profile: &Path) -> Result<Settings, Failure> {
    legacy::check(profile)?;
    let global = Global {
        profile: profile.to_owned(),
        rpc: None,
        deployment: None,
        market: None,
        keystore: None,
        account: None,
        password_file: None,
        json: false,
    };
    Settings::load(&global)
}

impl Call {
    /// Objects in the format that was asked for.
    fn show(&self, objects: &Objects) -> Report {
        Report::new(objects.show(self.format), objects.json())
    }

    /// The UIDs that were named.
    fn uids(&self) -> Vec<&str> {
        self.typed.words.iter().map(|word| uri::uid(word)).collect()
    }
}

fn usage(tool: Tool) -> Report {
    let (_, allowed) = grammar(tool);
    let about = |name: &str| match options::find(name) {
        Some((_, Kind::Flag(what) | Kind::Value(what))) => what.to_owned(),
        Some((_, Kind::Gone(_))) | None => String::new(),
    };
    let takes = |name: &str| match options::find(name) {
        Some((_, Kind::Value(_))) => format!("  {name} …"),
        Some((_, Kind::Flag(_) | Kind::Gone(_))) | None => format!("  {name}"),
    };
    let named: Vec<&str> = allowed.iter().chain(typed::ALWAYS).copied().collect();
    let lines: Vec<(String, String)> = named.iter().map(|name| (takes(name), about(name))).collect();
    let pairs: Vec<(&str, String)> = lines.iter().map(|(name, what)| (name.as_str(), what.clone())).collect();
    let text = format!("Usage: {}\n\nWhat it does: {}.\n\nOptions:\n{}", tool.usage(), tool.about(), fields(&pairs));
    let json = json!({ "usage": tool.usage(), "about": tool.about(), "options": named });
    Report::new(text, json)
}

fn help() -> Report {
    let tools = names::NAMES.iter().filter_map(|(name, answer)| match answer {
        Answer::Does(tool) => Some([(*name).to_owned(), tool.about().to_owned()]),
        Answer::Now(_) | Answer::Gone(_) => None,
    });
    let rows: Vec<[String; 2]> = tools.collect();
    let json = rows.iter().map(|[name, about]| json!({ "name": name, "about": about })).collect();
    let mut report = Report::new(table(["tool", "what it does"], &rows), json);
    report.note = "NAME --xwhelp tells how each is called; `berth xw list` has every name of old.".to_owned();
    report
}

fn version(call: &Call) -> Result<Report, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("Current version : {version}\n");
    let mut json = json!({ "version": version });
    if call.typed.has("--xwverbose") {
        let settings = &call.settings;
        let account = crate::keys::account(settings)?;
        let lines = [
            ("Server", settings.market()?.to_owned()),
            ("Chain", settings.rpc()?.to_owned()),
            ("Login", settings.account()?.to_owned()),
            ("Account", account.to_string()),
            ("Config", call.profile.display().to_string()),
        ];
        for (name, value) in lines {
            text.push_str(&format!("{name:<15} : {value}\n"));
            json[name.to_lowercase()] = value.into();
        }
    }
    Ok(Report::new(text, json))
}
