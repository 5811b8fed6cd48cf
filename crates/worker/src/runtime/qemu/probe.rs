//! Whether QEMU really boots a machine here, and by what means.
//!
//! A KVM that opens, makes a machine and a processor, and even runs a few instructions may still hang in a real boot. So
//! nothing less than a boot is believed: of a disk with one sector, whose program writes a result to the output disk as
//! any guest does, and resets the machine.

use super::{ENGINE, Qemu, image::Machine};
use crate::{
    config::Accel,
    runtime::{
        Ended, RuntimeError, folder_error,
        guest::{SECTOR_DISK_BYTES, SECTOR_EXIT, sector_request},
    },
};
use std::{fs, io, time::Duration};
use tokio_util::sync::CancellationToken;

/// A KVM that works boots this in a tenth of a second.
const KVM_TAKES: Duration = Duration::from_secs(5);
/// QEMU's own translation takes a second, on a busy machine several.
const TCG_TAKES: Duration = Duration::from_secs(60);

impl Qemu {
    /// Whether a machine boots under KVM.
    pub(super) async fn boots_by_kvm(&self) -> bool {
        let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        opens && self.probe_boot(Accel::Kvm).await.is_ok()
    }

    /// Boots a trivial machine, exactly as jobs are.
    pub(super) async fn probe_boot(&self, accel: Accel) -> Result<(), RuntimeError> {
        let wall = if accel == Accel::Kvm { KVM_TAKES } else { TCG_TAKES };
        let (request, disk) = sector_request(&self.tasks, wall)?;
        let machine = Machine::own(disk, SECTOR_DISK_BYTES);
        let booted = self.run_machine(&request, &machine, accel, &CancellationToken::new()).await;
        let said = fs::read_to_string(request.folder.stderr()).unwrap_or_default();
        let cleared = self.clear_task(request.task, &request.folder).await;
        let folder = request.folder.path();
        let removed = match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(folder_error("removing", folder)(error)),
            Ok(()) | Err(_) => Ok(()),
        };
        let ended = booted?.ended;
        cleared?;
        removed?;
        if ended == Ended::Exited(SECTOR_EXIT) {
            return Ok(());
        }
        let reason = format!("a trivial machine ended with {ended:?} instead of exit {SECTOR_EXIT}: {}", said.trim());
        Err(RuntimeError::Engine { engine: ENGINE, action: "boot a machine", source: io::Error::other(reason).into() })
    }
}
