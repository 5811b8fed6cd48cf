//! Whether VirtualBox is there, and really starts a machine here.
//!
//! It is managed well without its kernel driver, and says nothing until a machine is started. So one is started: of a
//! disk with one sector, whose program writes a result to the output disk as any guest does, and resets the machine.

use super::{LEAST_VERSION, VirtualBox, error::VirtualBoxError, image::System, manage::SERVICE, settings::described};
use crate::runtime::{
    RuntimeError,
    guest::{self, sector_judged, sector_request},
};
use std::{fs, process::Stdio, time::Duration};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// A machine of one sector is done in some seconds; inside another machine that is itself emulated, in a minute.
const BOOT_TAKES: Duration = Duration::from_secs(300);

impl VirtualBox {
    /// Asks the program who it is, and looks for the others.
    pub(super) async fn look(&self) -> Result<(), RuntimeError> {
        let program = &self.share.program;
        let absent = |program: &std::path::Path| {
            let program = program.to_owned();
            move |source| VirtualBoxError::Absent { program, source }
        };
        let asked = Command::new(program).arg("--version").env_clear().stdin(Stdio::null()).output().await;
        let said = asked.map_err(absent(program))?.stdout;
        let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned();
        // 7.2.22r175245: a script in its place would first warn of what it misses.
        let major = said.split_once('.').and_then(|(major, _)| major.parse::<u32>().ok());
        match major {
            None => return Err(VirtualBoxError::Foreign { program: program.clone(), said }.into()),
            Some(major) if major < LEAST_VERSION => return Err(VirtualBoxError::Old(said).into()),
            Some(_) => {}
        }
        for other in [&self.headless, &program.with_file_name(SERVICE)] {
            fs::metadata(other).map_err(absent(other))?;
        }
        Ok(())
    }

    /// Boots a trivial machine, exactly as jobs are.
    pub(super) async fn probe_boot(&self) -> Result<(), RuntimeError> {
        let (request, disk) = sector_request(&self.tasks, BOOT_TAKES)?;
        let manager = self.manager(request.task, &request.folder);
        let booted = async {
            self.clear_task(request.task, &request.folder).await?;
            let _service = manager.serve(BOOT_TAKES).await?;
            let system = System { file: described(&disk)?, is_cd: false };
            guest::make(&request).await?;
            self.create(&request, &system, &manager).await?;
            self.run_machine(&request, &manager, &CancellationToken::new()).await
        };
        let booted = booted.await;
        let cleared = self.clear_task(request.task, &request.folder).await;
        let Some(said) = sector_judged(&request, booted, cleared)? else { return Ok(()) };
        Err(VirtualBoxError::Refused { action: "boot a machine", said }.into())
    }
}
