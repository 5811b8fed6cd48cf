//! What a machine is given, in its folder: three disks, three pipes.

use super::{CONSOLE_PIPE, DISK_FILE, INPUT_FILE, OUTPUT_FILE, STDERR_PIPE, STDOUT_PIPE, output::HEADER_BYTES, part};
use crate::{
    environment::{IN, SCRATCH},
    runtime::{Request, RuntimeError, ext4},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use std::{fs, path::Path};

/// What a program finds if the job does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where a machine has its input disk.
const MOUNTED: &str = "/berth";
/// What tar adds to a file, at the most: a header, a long name with a header of its own, and the rest of the last block.
const TAR_ENTRY_BYTES: u64 = 3 * 512;
/// A file a 16 KiB, as the output's own file system has room for.
const BYTES_A_FILE: u64 = 16 << 10;
const FILES_AT_LEAST: u64 = 1_024;

/// Makes all of it. Each disk is a whole number of sectors.
pub(crate) async fn make(request: &Request) -> Result<(), RuntimeError> {
    let folder = request.folder.machine();
    fs::create_dir_all(&folder).map_err(part(&folder))?;
    let files = folder.join("berth");
    let bytes = inputs(request, &files)?;
    let (input, disk) = (folder.join(INPUT_FILE), folder.join(DISK_FILE));
    let (inputs, output) =
        tokio::join!(ext4::format(&input, bytes, Some(&files)), ext4::format(&disk, request.limits.disk_bytes, None));
    inputs?;
    output?;
    fs::remove_dir_all(&files).map_err(part(&files))?;
    let (out, limit) = (folder.join(OUTPUT_FILE), request.limits.disk_bytes);
    let room = limit + (FILES_AT_LEAST + limit / BYTES_A_FILE) * TAR_ENTRY_BYTES + HEADER_BYTES;
    fs::File::create(&out).and_then(|file| file.set_len(room.next_multiple_of(4_096))).map_err(part(&out))?;
    for pipe in [STDOUT_PIPE, STDERR_PIPE, CONSOLE_PIPE] {
        let path = folder.join(pipe);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| part(&path)(error.into()))?;
    }
    Ok(())
}

/// Lays out the input disk, and says how much it holds. Inputs are linked, not copied.
fn inputs(request: &Request, files: &Path) -> Result<u64, RuntimeError> {
    let into = files.join("in");
    fs::create_dir_all(&into).map_err(part(&into))?;
    let from = request.folder.inputs();
    let mut bytes = FILES_AT_LEAST * 4_096 + data(request, &into)?;
    let is_data = |name: &std::ffi::OsStr| request.data.iter().any(|data| name == data.name.as_str());
    for entry in fs::read_dir(&from).map_err(part(&from))?.flatten().filter(|entry| !is_data(&entry.file_name())) {
        fs::hard_link(entry.path(), into.join(entry.file_name())).map_err(part(&into))?;
        let size = entry.metadata().map_err(part(&into))?.len();
        bytes += size.next_multiple_of(4_096) + size / 256 + 4_096;
    }
    let script = script(request);
    bytes += script.len() as u64 * 3;
    let nul = |items: &mut dyn Iterator<Item = String>| items.map(|item| item + "\0").collect::<String>();
    let environment = nul(&mut environment(request).map(|(name, value)| format!("{name}={value}")));
    let arguments = nul(&mut request.args.iter().cloned());
    for (name, text) in [("job.sh", script), ("environ", environment), ("argv", arguments)] {
        let path = files.join(name);
        fs::write(&path, text).map_err(part(&path))?;
    }
    if let Some(stdin) = &request.stdin {
        let path = files.join("stdin");
        fs::write(&path, stdin).map_err(part(&path))?;
    }
    Ok(bytes)
}

/// Copies the machine's own data, and says how much room they need. They are not linked: that would be a change to them.
fn data(request: &Request, into: &Path) -> Result<u64, RuntimeError> {
    let mut bytes = 0;
    for data in &request.data {
        for file in data.dataset.files() {
            // Joining nothing to the path of a file would make a folder of it.
            let within = |folder: &Path| if file.is_empty() { folder.to_owned() } else { folder.join(file) };
            let (source, target) = (within(&data.dataset.path), within(&into.join(&data.name)));
            let folder = target.parent().unwrap_or(into);
            fs::create_dir_all(folder).map_err(part(folder))?;
            let size = fs::copy(&source, &target).map_err(part(&target))?;
            bytes += size.next_multiple_of(4_096) + size / 256 + 2 * 4_096;
        }
    }
    Ok(bytes)
}

fn environment(request: &Request) -> impl Iterator<Item = (String, String)> {
    let ours = [("HOME", SCRATCH), ("PATH", PATH)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let unsaid: Vec<_> = ours.into_iter().filter(|(name, _)| !request.environment.contains_key(name)).collect();
    request.environment.clone().into_iter().chain(unsaid)
}

/// The job as a program for a shell inside the machine.
fn script(request: &Request) -> String {
    let mut line = format!("cd {SCRATCH} || exit 125\nexec env -i");
    for (name, value) in environment(request) {
        line.push(' ');
        line.push_str(&quoted(&format!("{name}={value}")));
    }
    line.push_str(" \"$@\"");
    for argument in &request.args {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    if let Some(stdin) = &request.stdin {
        line.push_str(" <");
        line.push_str(&quoted(&format!("{IN}/{stdin}")));
    }
    format!("# {MOUNTED}/job.sh: runs the job, after the program given as arguments, if any.\n{line}\n")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_quotes_is_more_than_text() {
        for text in ["", "a b", "it's", "$(reboot)\n`x` \\ \" ; '"] {
            let said = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output();
            assert_eq!(String::from_utf8_lossy(&said.expect("a shell").stdout), text);
        }
    }
}
