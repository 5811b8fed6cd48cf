//! `berth xw install` and `berth xw list`.

use super::names::{Answer, NAMES, Tool};
use crate::{
    args::XwInstall,
    exit::Exit,
    hint::Failure,
    render::{Report, table},
};
use serde_json::json;
use std::{fs, io::ErrorKind, os::unix::fs::symlink, path::Path};

/// Makes a link of each name.
pub(crate) fn install(args: &XwInstall) -> Result<Report, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Error, "program", "this program can't tell where it is").because(&error))?;
    fs::create_dir_all(&args.dir).map_err(|error| Failure::file(&args.dir, "made", &error))?;
    let (mut made, mut left) = (Vec::new(), Vec::new());
    for (name, _) in NAMES {
        let link = args.dir.join(name);
        if make(&program, &link).map_err(|error| Failure::file(&link, "made", &error))? {
            made.push(*name);
        } else {
            left.push(*name);
        }
    }
    let json = json!({ "dir": args.dir, "program": program, "made": made, "left": left });
    let text = format!("{} links in {} lead to {}", made.len(), args.dir.display(), program.display());
    let mut report = Report::new(text, json);
    if !left.is_empty() {
        report.failure = Some(
            Failure::new(Exit::Refused, "not-ours", format!("{} are files already: {}", left.len(), left.join(", ")))
                .hint("they were left alone; give another folder, or remove them"),
        );
    }
    Ok(report)
}

/// Makes one, in place of an older link to such a program; says whether it is there.
fn make(program: &Path, link: &Path) -> std::io::Result<bool> {
    match fs::read_link(link) {
        Ok(old) if old.file_name() == program.file_name() => fs::remove_file(link)?,
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) => return Ok(false),
    }
    symlink(program, link)?;
    Ok(true)
}

/// All names.
pub(crate) fn list() -> Report {
    let rows: Vec<[String; 2]> = NAMES.iter().map(|(name, answer)| [(*name).to_owned(), describe(*answer)]).collect();
    let json = rows.iter().map(|[name, now]| json!({ "name": name, "now": now })).collect();
    Report::new(table(["name", "now"], &rows), json)
}

/// An answer in a line.
pub(super) fn describe(answer: Answer) -> String {
    match answer {
        Answer::Does(Tool::Works(Some(status))) => format!("your jobs that are {status}"),
        Answer::Does(tool) => tool.about().to_owned(),
        Answer::Now(command) => format!("now: {command}"),
        Answer::Gone(why) => format!("gone: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xw::called;
    use std::ffi::OsStr;

    #[test]
    fn links_are_made_anew_and_what_is_somebody_elses_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("berth-links-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary folder is writable");
        fs::write(dir.join("xwapps"), "mine").expect("it is writable");
        symlink("elsewhere", dir.join("xwrm")).expect("it is writable");
        for _ in 0..2 {
            let report = install(&XwInstall { dir: dir.clone() }).expect("it can be written");
            let failure = report.failure.expect("two are in the way");
            assert!(failure.message.contains("xwapps, xwrm"), "{failure}");
        }
        assert_eq!(fs::read(dir.join("xwapps")).expect("it is there"), b"mine");
        assert!(fs::read_link(dir.join("xwsubmit")).is_ok_and(|to| to == std::env::current_exe().expect("known")));
        fs::remove_dir_all(dir).expect("it was just made");
    }

    #[test]
    fn the_name_that_it_is_called_by_says_what_it_is() {
        assert_eq!(called(OsStr::new("/usr/bin/xwsubmit")), Some("xwsubmit".to_owned()));
        assert_eq!(called(OsStr::new("xwsubmitt")), Some("xwsubmitt".to_owned()));
        assert_eq!(
            (called(OsStr::new("target/berth")), called(OsStr::new("")), called(OsStr::new("/"))),
            (None, None, None)
        );
    }
}
