//! The least machine: a disk of one sector, whose program writes a result to the output disk as any guest does, and
//! resets the machine. What boots it boots.

use super::LEAST_MEMORY_BYTES;
use crate::runtime::{Ended, Outcome, Request, RuntimeError, TaskFolder, folder_error};
use alloy::primitives::B256;
use berth_protocol::TaskId;
use berth_wire::{
    job::{Image, Limits},
    units::{OciDigest, Sha256},
};
use std::{collections::BTreeMap, fs, io, path::PathBuf, time::Duration};

/// The task under which the probe runs. Zero is no task's id.
const PROBE: TaskId = TaskId::new(B256::ZERO);
/// What its result is.
const EXIT: i32 = 42;
pub(crate) const DISK_BYTES: u64 = 1 << 20;

/// The boot sector's machine code (x86, real mode), loaded at 0x7c00:
/// `ds = ss = 0, sp = 0x7c00; write one sector (int 0x13, ah = 0x43) to the third disk, as the packet says; reset the
/// machine (port 0xcf9, and where there is none the keyboard's port 0x64); halt`. Then the packet: 16 bytes, one sector,
/// from 0x7c32, to sector 0. Then the text.
const CODE: [u8; 50] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, 0xbe, 0x22, 0x7c, 0xb8, 0x00, 0x43, 0xb2, 0x82,
    0xcd, 0x13, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd, 0x10, 0x00, 0x01, 0x00,
    0x32, 0x7c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];
const TEXT: &str = "berth1 42 -\n";
/// By which firmware knows that a sector boots.
const BOOTS: [u8; 2] = [0x55, 0xaa];
const SECTOR_BYTES: usize = 512;

fn sector() -> Vec<u8> {
    let mut sector = [&CODE, TEXT.as_bytes()].concat();
    sector.resize(SECTOR_BYTES - BOOTS.len(), 0);
    sector.extend(BOOTS);
    sector
}

/// A job for the least machine, and the bare disk that boots it.
pub(crate) fn request(tasks: &std::path::Path, wall: Duration) -> Result<(Request, PathBuf), RuntimeError> {
    let folder = TaskFolder::new(tasks, PROBE);
    let inputs = folder.inputs();
    fs::create_dir_all(&inputs).map_err(folder_error("making", &inputs))?;
    let disk = folder.path().join("probe.raw");
    let made =
        fs::write(&disk, sector()).and_then(|()| fs::OpenOptions::new().write(true).open(&disk)?.set_len(DISK_BYTES));
    made.map_err(folder_error("making", &disk))?;
    let digest = OciDigest(Sha256::of(&sector()));
    let request = Request {
        task: PROBE,
        image: Image { reference: "probe".to_owned(), config: Some(digest), manifest: None },
        args: Vec::new(),
        environment: BTreeMap::new(),
        stdin: None,
        data: Vec::new(),
        file: None,
        limits: Limits { memory_bytes: LEAST_MEMORY_BYTES, disk_bytes: DISK_BYTES, ..Limits::default() },
        wall,
        folder,
    };
    Ok((request, disk))
}

/// What came of a least machine, after it was cleared: removes the rest, and says why it did not boot as it must.
pub(crate) fn judged(
    request: &Request,
    ended: Result<Outcome, RuntimeError>,
    cleared: Result<(), RuntimeError>,
) -> Result<Option<String>, RuntimeError> {
    let said = fs::read_to_string(request.folder.stderr()).unwrap_or_default();
    let folder = request.folder.path();
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(folder_error("removing", folder)(error)),
        Ok(()) | Err(_) => Ok(()),
    };
    let ended = ended?.ended;
    cleared?;
    removed?;
    Ok((ended != Ended::Exited(EXIT))
        .then(|| format!("a trivial machine ended with {ended:?} instead of exit {EXIT}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sector_boots_and_writes_what_it_holds() {
        let sector = sector();
        assert_eq!(sector.len(), SECTOR_BYTES);
        assert_eq!(sector[SECTOR_BYTES - 2..], BOOTS);
        // The program says where the packet is, and the packet where the text is.
        let packet = usize::from(u16::from_le_bytes([CODE[12], CODE[13]])) - 0x7c00;
        let at = usize::from(u16::from_le_bytes([CODE[packet + 4], CODE[packet + 5]])) - 0x7c00;
        assert!(sector[at..].starts_with(TEXT.as_bytes()));
    }
}
