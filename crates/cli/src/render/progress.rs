//! What a command is doing, on stderr: a line that renews itself on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{cell::RefCell, io::IsTerminal as _, time::Duration};

/// How often the sign of life turns.
const TICK: Duration = Duration::from_millis(120);

/// Tells what goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: RefCell<String>,
}

impl Progress {
    /// On a terminal a line that renews itself; else a line a step.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a constant template"));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, last: RefCell::default() }
    }

    /// Something that lasts: shown until the next step.
    pub(crate) fn step(&self, text: impl Into<String>) {
        let text = text.into();
        if *self.last.borrow() == text {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(text.clone()),
            None => super::err(&text),
        }
        self.last.replace(text);
    }

    /// Something that stays on the screen.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => super::err(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
