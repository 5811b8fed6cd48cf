//! A tool's command line: options anywhere, and words in their order, each exactly as the shell passed it.

use super::options::{self, Kind};
use crate::hint::Failure;
use std::ffi::OsString;

/// A command line, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// What is no option.
    pub(super) words: Vec<String>,
    options: Vec<(&'static str, Option<String>)>,
}

/// How a tool reads its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Options begin with `--xw`; a word that begins otherwise is a word, whatever it begins with, and a `--` right after
    /// the first word says that no option follows.
    Client,
    /// A script of old: options without `xw`, too, and `-v`, `-h`.
    Script,
}

impl Typed {
    /// Reads it. `allowed` are the options that the tool has, besides those of all tools.
    pub(super) fn parse(
        args: impl IntoIterator<Item = OsString>,
        style: Style,
        allowed: &[&str],
    ) -> Result<Self, Failure> {
        let mut typed = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let arg = text(arg)?;
            if arg == "--" && typed.words.len() == 1 && style == Style::Client {
                for rest in args.by_ref() {
                    typed.words.push(text(rest)?);
                }
                break;
            }
            let (name, attached) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (arg.clone(), None),
            };
            let Some(name) = option_name(&name, style, typed.words.is_empty())? else {
                typed.words.push(arg);
                continue;
            };
            let (known, kind) = options::find(&name).ok_or_else(|| unknown(&name))?;
            match kind {
                Kind::Gone(why) => return Err(gone(known, why)),
                Kind::Flag(_) | Kind::Value(_) if !ALWAYS.contains(&known) && !allowed.contains(&known) => {
                    return Err(foreign(known, allowed));
                }
                Kind::Flag(_) if attached.is_some() => {
                    return Err(
                        Failure::usage("option", format!("{known} takes no value")).hint(format!("write only {known}"))
                    );
                }
                Kind::Flag(_) => typed.options.push((known, None)),
                Kind::Value(_) => {
                    let value = match attached {
                        Some(value) => Some(value),
                        None => args.next().map(text).transpose()?,
                    };
                    let value = value.ok_or_else(|| {
                        Failure::usage("option", format!("{known} needs a value"))
                            .hint(format!("write {known} VALUE, or {known}=VALUE"))
                    })?;
                    typed.options.push((known, Some(value)));
                }
            }
        }
        Ok(typed)
    }

    /// Whether a flag was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(known, _)| *known == name)
    }

    /// The value of an option that may be given once, under any of its names.
    pub(super) fn one(&self, names: &[&str]) -> Result<Option<&str>, Failure> {
        let mut given = self.options.iter().filter(|(known, _)| names.contains(known));
        let first = given.next();
        if let Some((again, _)) = given.next() {
            return Err(Failure::usage("option", format!("{again} is given twice")).hint("give it once"));
        }
        Ok(first.and_then(|(_, value)| value.as_deref()))
    }

    /// All values of an option.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(known, _)| *known == name).filter_map(|(_, value)| value.as_deref())
    }
}

/// What every tool reads.
pub(super) const ALWAYS: &[&str] = &["--xwconfig", "--xwformat", "--xwverbose", "--xwhelp"];

/// The option that a word is, if it is one.
fn option_name(word: &str, style: Style, at_start: bool) -> Result<Option<String>, Failure> {
    let short = match word {
        "-h" => Some("--help"),
        "-v" => Some("--verbose"),
        _ => None,
    };
    match style {
        Style::Client if word.starts_with("--xw") => Ok(Some(word.to_owned())),
        // Before the first word nothing is the job's.
        Style::Client if at_start && (word == "--help" || word == "-h") => Ok(Some("--xwhelp".to_owned())),
        Style::Client if at_start && word.starts_with('-') && word.len() > 1 => Err(unknown(word)),
        Style::Client => Ok(None),
        Style::Script if word.starts_with('-') => Ok(Some(short.unwrap_or(word).to_owned())),
        Style::Script => Ok(None),
    }
}

fn text(arg: OsString) -> Result<String, Failure> {
    arg.into_string().map_err(|arg| {
        Failure::usage("not-text", format!("{} is no UTF-8, and a job's command line has to be", arg.display()))
            .hint("put such bytes into a file, and give it as input: --xwenv FILE")
    })
}

fn unknown(name: &str) -> Failure {
    let mut failure = Failure::usage("option", format!("there is no option {name}"));
    let near = options::OPTIONS.iter().find(|(known, _)| known.starts_with(name) || name.starts_with(known));
    if let Some((near, _)) = near {
        failure = failure.hint(format!("perhaps {near} is meant"));
    }
    failure
        .hint("--xwhelp shows those that there are; an option of the job's own stands after the application and `--`")
}

fn gone(name: &str, why: &str) -> Failure {
    Failure::usage("option-gone", format!("{name} is gone: {why}"))
        .hint("docs/from-xtremweb.md has every option of old")
}

fn foreign(name: &str, allowed: &[&str]) -> Failure {
    let failure = Failure::usage("option", format!("{name} is no option of this tool"));
    if allowed.is_empty() {
        failure.hint("it has none of its own")
    } else {
        failure.hint(format!("it has {}", allowed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(line: &[&str]) -> Result<Typed, Failure> {
        Typed::parse(line.iter().map(OsString::from), Style::Client, &["--xwenv", "--xwwait", "--xwlabel"])
    }

    #[test]
    fn words_keep_their_blanks_quotes_and_dashes() {
        let line = ["busybox", "sh", "-c", "echo 'a  b' \"c\"; $x", "", "--color", "-n", "--xwenv", "f g", "it's"];
        let typed = client(&line).expect("it makes sense");
        assert_eq!(typed.words, ["busybox", "sh", "-c", "echo 'a  b' \"c\"; $x", "", "--color", "-n", "it's"]);
        assert_eq!(typed.all("--xwenv").collect::<Vec<_>>(), ["f g"]);
    }

    #[test]
    fn after_the_application_two_dashes_end_the_options() {
        let typed = client(&["--xwwait", "app", "--", "--xwenv", "--", "x"]).expect("it makes sense");
        assert_eq!(typed.words, ["app", "--xwenv", "--", "x"]);
        assert!(typed.has("--xwwait"));
        let typed = client(&["app", "grep", "--", "x", "--xwwait"]).expect("it makes sense");
        assert_eq!((typed.words, typed.options.len()), (vec!["app".into(), "grep".into(), "--".into(), "x".into()], 1));
    }

    #[test]
    fn options_that_are_unknown_gone_or_empty_are_refused_with_a_hint() {
        for line in [
            &["--xwfoo"][..],
            &["app", "--xwmacro", "f"],
            &["app", "--xwenv"],
            &["--color", "app"],
            &["app", "--xwout", "x"],
            &["app", "--xwwait=1"],
        ] {
            let failure = client(line).expect_err("it makes no sense");
            assert!(!failure.hints.is_empty(), "{line:?}: {failure}");
        }
        let twice = client(&["a", "--xwlabel=x", "--xwlabel", "y"]).expect("its form is right");
        assert!(twice.one(&["--xwlabel"]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let line = [OsString::from("app"), OsString::from_vec(vec![0xff])];
        assert!(Typed::parse(line, Style::Client, &[]).is_err());
    }
}
