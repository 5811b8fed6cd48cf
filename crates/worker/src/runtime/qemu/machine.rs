//! One run, from making a machine's disks to its end.

use super::{ENGINE, PROGRAM, Qemu, command::LAYER_FILE, image::Machine};
use crate::{
    config::Accel,
    runtime::{
        Outcome, Request, RuntimeError,
        ext4::program,
        guest::{self, Hypervisor, Streams, part},
    },
};
use std::{fs, future, process::ExitStatus, time::Instant};
use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, Command},
};
use tokio_util::sync::CancellationToken;

/// In QEMU's own language, which it hears on its standard input: that it is spoken, and the one thing that is ever said.
const PRESS: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"system_powerdown\"}\n";

/// A machine that runs: what QEMU hears.
struct Running(Option<ChildStdin>);

impl Hypervisor for Running {
    const NAME: &'static str = ENGINE;

    async fn press(&mut self) {
        if let Some(heard) = &mut self.0 {
            // An error means that it has ended by itself in this moment.
            let _heard = heard.write_all(PRESS).await;
        }
    }

    async fn stopped(&self) -> RuntimeError {
        // It stops no machine without ending.
        future::pending().await
    }

    fn failed(&self, status: ExitStatus, complaints: &str) -> RuntimeError {
        RuntimeError::Program { program: PROGRAM, said: format!("{status}: {complaints}") }
    }
}

impl Qemu {
    /// Runs a job. A machine of an earlier life of this worker is ended: what it said meanwhile is lost.
    pub(super) async fn run_job(&self, request: &Request, cancel: &CancellationToken) -> Result<Outcome, RuntimeError> {
        self.clear_task(request.task, &request.folder).await?;
        let machine = self.shared.find(&request.image, request.file.as_ref()).await?;
        self.run_machine(request, &machine, self.accel, cancel).await
    }

    pub(super) async fn run_machine(
        &self,
        request: &Request,
        machine: &Machine,
        accel: Accel,
        cancel: &CancellationToken,
    ) -> Result<Outcome, RuntimeError> {
        let (output, begun) = (request.folder.output(), Instant::now());
        // Linked files of the inputs must lie in one file system with them.
        guest::make(request).await?;
        layer(request, machine).await?;
        fs::create_dir_all(&output).map_err(part(&output))?;
        let mut streams = Streams::open(&request.folder)?;
        let failed =
            |source| RuntimeError::Engine { engine: ENGINE, action: "start a machine", source: Box::new(source) };
        let mut child = self.command(request, machine, accel)?.spawn().map_err(failed)?;
        let mut running = Running(child.stdin.take());
        let layer = request.folder.machine().join(LAYER_FILE);
        let job = guest::Job { request, cancel, layer: &layer };
        let ended = guest::attend(&mut child, &mut running, &job, &mut streams).await?;
        let (stdout_bytes, stderr_bytes) = streams.bytes();
        Ok(Outcome { ended, wall: begun.elapsed(), output, stdout_bytes, stderr_bytes })
    }
}

/// Makes the layer over a system disk.
async fn layer(request: &Request, machine: &Machine) -> Result<(), RuntimeError> {
    let Some(disk) = &machine.disk else { return Ok(()) };
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2"]).arg(request.folder.machine().join(LAYER_FILE));
    program("qemu-img", create.arg(disk.form.bytes.to_string())).await
}
