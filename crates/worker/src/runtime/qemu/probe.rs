//! Whether QEMU really boots a machine here, and by what means.
//!
//! A KVM that opens, makes a machine and a processor, and even runs a few instructions may still hang in a real boot. So
//! nothing less than a boot is believed: of a disk with one sector, whose program writes a result to the output disk as
//! any guest does, and resets the machine.

use super::{ENGINE, Qemu, image::Machine};
use crate::{
    config::Accel,
    runtime::{
        RuntimeError,
        guest::{SECTOR_DISK_BYTES, sector_judged, sector_request},
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
        let cleared = self.clear_task(request.task, &request.folder).await;
        let Some(reason) = sector_judged(&request, booted, cleared)? else { return Ok(()) };
        Err(RuntimeError::Engine { engine: ENGINE, action: "boot a machine", source: io::Error::other(reason).into() })
    }
}
