//! Files that go to the job.

use crate::hint::Failure;
use berth_wire::job::is_component;
use std::path::{Path, PathBuf};

/// A file, and the name that it gets in the job's input folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    /// The name.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
}

impl InputFile {
    /// Reads `FILE` or `NAME=FILE`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let file = match text.split_once('=') {
            Some((name, path)) => Self { name: name.to_owned(), path: PathBuf::from(path) },
            None => Self::of(Path::new(text))?,
        };
        if !is_component(&file.name) {
            let message = format!("--input: `{}` is no plain file name", file.name);
            return Err(Failure::usage("input-name", message).hint("write NAME=FILE, with a name without `/`"));
        }
        file.check("--input")
    }

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

/// All inputs in the order that a job wants, and the name of the one that becomes standard input.
pub(crate) fn gather(inputs: &[String], stdin: Option<&Path>) -> Result<(Vec<InputFile>, Option<String>), Failure> {
    let mut files = inputs.iter().map(|text| InputFile::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut name = None;
    if let Some(path) = stdin {
        let file = InputFile::of(path)?.check("--stdin")?;
        name = Some(file.name.clone());
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = files.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let message = format!("two inputs are called `{}`", pair[0].name);
        return Err(Failure::usage("input-name", message).hint("give one of them another name: NAME=FILE"));
    }
    Ok((files, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_sorted_named_and_refused_where_they_collide() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = here.join("Cargo.toml");
        let text = manifest.display().to_string();
        let (files, stdin) = gather(&[format!("z={text}"), format!("a={text}")], Some(&manifest)).expect("files");
        assert_eq!(files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["Cargo.toml", "a", "z"]);
        assert_eq!(stdin.as_deref(), Some("Cargo.toml"));
        assert!(gather(&[format!("a={text}"), format!("a={text}")], None).is_err());
        assert!(gather(&[format!("a/b={text}")], None).is_err());
        assert!(gather(&[here.join("src").display().to_string()], None).is_err());
        assert_eq!(gather(&["nowhere.txt".into()], None).map_err(|e| e.exit.code()), Err(3));
    }
}
