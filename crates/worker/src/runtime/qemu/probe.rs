//! Whether QEMU really boots a machine here, and by what means.
//!
//! A KVM that opens, makes a machine and a processor, and even runs a few instructions may still hang in a real boot. So
//! nothing less than a boot is believed: of a disk with one sector, whose program writes a result to the output disk as
//! any guest does, and resets the machine.

use super::{ENGINE, Qemu, image::Machine};
use crate::{
    config::Accel,
    runtime::{Ended, Request, RuntimeError, TaskFolder, folder_error},
};
use alloy::primitives::B256;
use berth_protocol::TaskId;
use berth_wire::{
    job::{Image, Limits},
    units::{OciDigest, Sha256},
};
use std::{collections::BTreeMap, fs, io, time::Duration};
use tokio_util::sync::CancellationToken;

/// The task under which the probe runs. Zero is no task's id.
const PROBE: TaskId = TaskId::new(B256::ZERO);
/// A KVM that works boots this in a tenth of a second.
const KVM_TAKES: Duration = Duration::from_secs(5);
/// QEMU's own translation takes a second, on a busy machine several.
const TCG_TAKES: Duration = Duration::from_secs(60);
const EXIT: i32 = 42;
const DISK_BYTES: u64 = 1 << 20;

/// The boot sector's machine code (x86, real mode), loaded at 0x7c00:
/// `ds = ss = 0, sp = 0x7c00; write one sector (int 0x13, ah = 0x43) to the third disk, as the packet says; reset the
/// machine (port 0xcf9); halt`. Then the packet: 16 bytes, one sector, from 0x7c2e, to sector 0. Then the text.
const CODE: [u8; 46] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, 0xbe, 0x1e, 0x7c, 0xb8, 0x00, 0x43, 0xb2, 0x82,
    0xcd, 0x13, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd, 0x10, 0x00, 0x01, 0x00, 0x2e, 0x7c, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
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

impl Qemu {
    /// Whether a machine boots under KVM.
    pub(super) async fn boots_by_kvm(&self) -> bool {
        let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        opens && self.probe_boot(Accel::Kvm).await.is_ok()
    }

    /// Boots a trivial machine, exactly as jobs are.
    pub(super) async fn probe_boot(&self, accel: Accel) -> Result<(), RuntimeError> {
        let folder = TaskFolder::new(&self.tasks, PROBE);
        let booted = self.boot(&folder, accel).await;
        let cleared = self.clear_task(PROBE, &folder).await;
        let removed = match fs::remove_dir_all(folder.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(folder_error("removing", folder.path())(error))
            }
            Ok(()) | Err(_) => Ok(()),
        };
        booted?;
        cleared?;
        removed
    }

    async fn boot(&self, folder: &TaskFolder, accel: Accel) -> Result<(), RuntimeError> {
        let inputs = folder.inputs();
        fs::create_dir_all(&inputs).map_err(folder_error("making", &inputs))?;
        let disk = folder.path().join("probe.raw");
        let made = fs::write(&disk, sector())
            .and_then(|()| fs::OpenOptions::new().write(true).open(&disk)?.set_len(DISK_BYTES));
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
            limits: Limits { memory_bytes: super::LEAST_MEMORY_BYTES, disk_bytes: DISK_BYTES, ..Limits::default() },
            wall: if accel == Accel::Kvm { KVM_TAKES } else { TCG_TAKES },
            folder: folder.clone(),
        };
        let machine = Machine::own(disk.clone(), DISK_BYTES);
        let cancel = CancellationToken::new();
        let outcome = self.run_machine(&request, &machine, accel, &cancel).await?;
        if outcome.ended == Ended::Exited(EXIT) {
            return Ok(());
        }
        let said = fs::read_to_string(folder.stderr()).unwrap_or_default();
        let reason =
            format!("a trivial machine ended with {:?} instead of exit {EXIT}: {}", outcome.ended, said.trim());
        Err(RuntimeError::Engine { engine: ENGINE, action: "boot a machine", source: io::Error::other(reason).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sector_boots_and_writes_what_it_holds() {
        let sector = sector();
        assert_eq!(sector.len(), SECTOR_BYTES);
        assert_eq!(sector[SECTOR_BYTES - 2..], BOOTS);
        // The packet says where the text is.
        let at = usize::from(u16::from_le_bytes([CODE[34], CODE[35]])) - 0x7c00;
        assert!(sector[at..].starts_with(TEXT.as_bytes()));
    }
}
