//! What goes to the job: files, and what is fetched from elsewhere.

use crate::hint::Failure;
use berth_wire::{address, job::is_component};
use std::path::{Path, PathBuf};

/// A file, and the name that it gets in the job's input folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    /// The name.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
}

/// An input that workers fetch from an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Its name in the job's input folder.
    pub(crate) name: String,
    /// The address.
    pub(crate) url: String,
}

/// All inputs of a job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files, sorted by name.
    pub(crate) files: Vec<InputFile>,
    /// What is elsewhere.
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// The name of the one that becomes standard input.
    pub(crate) stdin: Option<String>,
}

/// Whether a text is an address from which workers fetch.
pub(crate) fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

/// Whether a text is meant as an address, of whatever scheme, and as no file's name.
fn is_address(text: &str) -> bool {
    let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    text.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && is_scheme(scheme))
}

impl Elsewhere {
    /// An address, under this name or that of its last part.
    pub(crate) fn of(name: Option<&str>, url: &str, flag: &str) -> Result<Self, Failure> {
        let read = address::read(url).map_err(|error| {
            Failure::usage("input-url", format!("{flag}: `{url}`: {error}"))
                .hint("workers fetch it as it is: give an address that is open to them")
        })?;
        let last = read.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
        let name = named(name.unwrap_or(&last), flag)?;
        Ok(Self { name, url: url.to_owned() })
    }
}

fn named(name: &str, flag: &str) -> Result<String, Failure> {
    if is_component(name) {
        return Ok(name.to_owned());
    }
    Err(Failure::usage("input-name", format!("{flag}: `{name}` is no plain file name"))
        .hint("write NAME=FILE or NAME=URL, with a name without `/`"))
}

impl InputFile {
    /// A file under its own name.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| {
            Failure::usage("input-name", format!("`{}` has no name that a job could use", path.display()))
                .hint("write NAME=FILE")
        })?;
        Ok(Self { name: name.to_owned(), path: path.to_owned() })
    }

    /// That it is a file that can be read.
    pub(crate) fn check(self, flag: &str) -> Result<Self, Failure> {
        let meta = std::fs::metadata(&self.path).map_err(|error| Failure::file(&self.path, "read", &error))?;
        if meta.is_file() {
            return Ok(self);
        }
        Err(Failure::usage("input-kind", format!("{flag}: {} is no file", self.path.display()))
            .hint("give files one by one, or pack the folder with tar"))
    }
}

/// Reads all inputs: `FILE`, `NAME=FILE`, `URL` or `NAME=URL`, and standard input.
pub(crate) fn gather(inputs: &[String], stdin: Option<&Path>) -> Result<Inputs, Failure> {
    let flag = "--input";
    let mut all = Inputs::default();
    for text in inputs {
        match text.split_once('=').filter(|_| !is_address(text)) {
            Some((name, url)) if is_address(url) => all.elsewhere.push(Elsewhere::of(Some(name), url, flag)?),
            Some((name, path)) => {
                let file = InputFile { name: named(name, flag)?, path: PathBuf::from(path) };
                all.files.push(file.check(flag)?);
            }
            None if is_address(text) => all.elsewhere.push(Elsewhere::of(None, text, flag)?),
            None => all.files.push(InputFile::of(Path::new(text))?.check(flag)?),
        }
    }
    if let Some(path) = stdin {
        let file = InputFile::of(path)?.check("--stdin")?;
        all.stdin = Some(file.name.clone());
        if !all.files.contains(&file) {
            all.files.push(file);
        }
    }
    all.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// That no two inputs have one name.
pub(crate) fn apart<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::usage("input-name", format!("two inputs are called `{}`", pair[0]))
            .hint("give one of them another name: NAME=FILE")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_sorted_named_and_refused_where_they_collide() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = here.join("Cargo.toml");
        let text = manifest.display().to_string();
        let all = gather(&[format!("z={text}"), format!("a={text}")], Some(&manifest)).expect("files");
        assert_eq!(all.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["Cargo.toml", "a", "z"]);
        assert_eq!(all.stdin.as_deref(), Some("Cargo.toml"));
        assert!(apart(["a", "b"].into_iter()).is_ok() && apart(["a", "b", "a"].into_iter()).is_err());
        assert!(gather(&[format!("a/b={text}")], None).is_err());
        assert!(gather(&[here.join("src").display().to_string()], None).is_err());
        assert_eq!(gather(&["nowhere.txt".into()], None).map_err(|e| e.exit.code()), Err(3));
    }
    #[test]
    fn an_address_is_an_input_under_its_own_or_another_name() {
        let of = |text: &str| gather(&[text.to_owned()], None).map(|all| all.elsewhere);
        let is = |name: &str, url: &str| vec![Elsewhere { name: name.into(), url: url.into() }];
        let url = "https://a.example/data/set.csv?v=1";
        assert_eq!(of(url).expect("an address"), is("set.csv", url));
        assert_eq!(of(&format!("in={url}")).expect("an address"), is("in", url));
        for text in
            ["https://a.example/", "x=https://me:secret@a.example/x", "a/b=https://a.example/x", "x=ftp://a.example/x"]
        {
            assert_eq!(of(text).map_err(|error| error.exit.code()), Err(2), "{text}");
        }
    }
}
