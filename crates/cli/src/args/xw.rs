//! `berth xw`: the tools of XtremWeb-HEP, as links to this program.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `berth xw …`
#[derive(Debug, Subcommand)]
pub(crate) enum Xw {
    /// Link the tools of XtremWeb-HEP to this program: xwsubmit, xwworks, xwresult and the others
    Install(XwInstall),
    /// Every name that XtremWeb-HEP had, and what answers to it now
    #[command(after_help = "Examples:\n  berth xw list")]
    List,
}

/// `berth xw install`
#[derive(Debug, Args)]
#[command(after_help = "A file that is there and is no such link is left alone, and said.\n\n\
    Examples:\n  berth xw install ~/.local/bin\n  berth xw install bin && PATH=$PWD/bin:$PATH xwapps")]
pub(crate) struct XwInstall {
    /// Where the links go
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
