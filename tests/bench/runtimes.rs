//! What a runtime adds to the engine beneath it: pairs of a worker's run and the same by the engine's own program, in
//! turn, so that whatever else the machine does meets both alike.

use crate::{
    latency::{WORD, median},
    report::{Figure, load},
};
use alloy::primitives::{Address, B256};
use berth_protocol::{TaskId, WorkerAddr};
use berth_tests::engine::{Engine, IMAGE};
use berth_wire::{
    job::{Image, Limits},
    units::{OciDigest, Sha256},
};
use berth_worker::{
    config::{Accel, DockerShare, MachineFile, QemuShare},
    runtime::{Ended, Request, Runtime, TaskFolder, docker::Docker, qemu::Qemu},
};
use eyre::{Context as _, ContextCompat as _, ensure};
use serde_json::{Map, json};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Pairs measured, after one that is not.
const CONTAINER_PAIRS: usize = 20;
const MACHINE_PAIRS: usize = 8;
const MACHINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/vm/image/machine.json");
const MEMORY_MIB: u64 = 256;
const DISK_BYTES: u64 = 64 << 20;
const MS: f64 = 1_000.0;

/// Measures and prints it.
pub(crate) async fn measure() -> eyre::Result<()> {
    let folder = tempfile::tempdir()?;
    let worker = WorkerAddr::new(Address::repeat_byte(7));
    containers(folder.path(), worker).await?;
    machines(folder.path(), worker).await
}

/// A run as a worker has it, with everything cleared afterwards as it does.
async fn ours(runtime: &dyn Runtime, tasks: &Path, image: &Image, pids: u32) -> eyre::Result<Duration> {
    let task = TaskId::new(B256::from(rand::random::<[u8; 32]>()));
    let folder = TaskFolder::new(tasks, task);
    std::fs::create_dir_all(folder.inputs())?;
    let request = Request {
        task,
        image: image.clone(),
        args: ["sh", "-c", &format!("echo {WORD}")].map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        stdin: None,
        data: Vec::new(),
        file: None,
        limits: Limits { memory_bytes: MEMORY_MIB << 20, disk_bytes: DISK_BYTES, pids, ..Limits::default() },
        wall: Duration::from_secs(120),
        folder: folder.clone(),
    };
    let began = Instant::now();
    let outcome = runtime.run(&request, &CancellationToken::new()).await?;
    ensure!(outcome.ended == Ended::Exited(0), "{outcome:?}");
    ensure!(std::fs::read_to_string(folder.stdout())? == format!("{WORD}\n"));
    runtime.clear(task, &folder).await?;
    let took = began.elapsed();
    std::fs::remove_dir_all(folder.path())?;
    Ok(took)
}

async fn containers(folder: &Path, worker: WorkerAddr) -> eyre::Result<()> {
    let engine = Engine::with_image().await?;
    let tasks = folder.join("docker");
    std::fs::create_dir_all(&tasks)?;
    let share = DockerShare { host: Some(engine.host.clone()), ..DockerShare::default() };
    let docker = Docker::connect(share, worker, tasks.clone()).await?;
    let id = engine.docker.inspect_image(IMAGE).await?.id.wrap_err("the image has no id")?;
    let image = Image { reference: IMAGE.to_owned(), config: Some(id.parse()?), manifest: None };
    let mut pairs = Vec::new();
    for pair in 0..=CONTAINER_PAIRS {
        let bare = async || crate::latency::plain_in(folder, &engine.host).await;
        pairs.push(if pair % 2 == 0 {
            let ours = ours(&docker, &tasks, &image, 64).await?;
            (ours, bare().await?)
        } else {
            let bare = bare().await?;
            (ours(&docker, &tasks, &image, 64).await?, bare)
        });
    }
    let differences = pairs.iter().skip(1).map(|(ours, bare)| (ours.as_secs_f64() - bare.as_secs_f64()) * MS).collect();
    print("docker_overhead_ms", json!(median(differences)), "ms", &pairs)
}

async fn machines(folder: &Path, worker: WorkerAddr) -> eyre::Result<()> {
    let document = std::fs::read(MACHINE).wrap_err_with(|| format!("{MACHINE}: run scripts/build-vm-image.sh"))?;
    let digest = OciDigest(Sha256::of(&document));
    let shared = MachineFile { reference: "small-linux".to_owned(), file: MACHINE.into(), digest };
    let image = shared.image();
    let tasks = folder.join("qemu");
    std::fs::create_dir_all(&tasks)?;
    let share = QemuShare { accel: Accel::Auto, images: vec![shared], ..QemuShare::default() };
    let qemu = Qemu::connect(share, worker, tasks.clone()).await?;
    let mut pairs = Vec::new();
    for pair in 0..=MACHINE_PAIRS {
        pairs.push(if pair % 2 == 0 {
            let ours = ours(&qemu, &tasks, &image, u16::MAX.into()).await?;
            (ours, bare_machine(folder, qemu.accel()).await?)
        } else {
            let bare = bare_machine(folder, qemu.accel()).await?;
            (ours(&qemu, &tasks, &image, u16::MAX.into()).await?, bare)
        });
    }
    let ratios = pairs.iter().skip(1).map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64()).collect();
    print("qemu_boot_to_result_ratio", json!(median(ratios)), "x", &pairs)
}

fn print(
    op: &'static str,
    value: serde_json::Value,
    unit: &'static str,
    pairs: &[(Duration, Duration)],
) -> eyre::Result<()> {
    let counted = &pairs[1..];
    let beside = Map::from_iter([
        ("pairs".to_owned(), json!(counted.len())),
        ("worker_s".to_owned(), json!(median(counted.iter().map(|pair| pair.0.as_secs_f64()).collect()))),
        ("bare_s".to_owned(), json!(median(counted.iter().map(|pair| pair.1.as_secs_f64()).collect()))),
        ("load".to_owned(), json!(load()?)),
    ]);
    Figure { bench: "runtimes", op, value, unit, beside }.print()
}

/// The same machine with the same disks by hand: nothing is confined, limited, counted or unpacked.
async fn bare_machine(folder: &Path, accel: Accel) -> eyre::Result<Duration> {
    let (work, image) = (folder.join("bare"), Path::new(MACHINE).parent().wrap_err("a file is in a folder")?);
    std::fs::create_dir_all(work.join("files/in"))?;
    let began = Instant::now();
    let job = format!("cd /iexec\nexec env -i PATH=/bin \"$@\" sh -c 'echo {WORD}'\n");
    std::fs::write(work.join("files/job.sh"), job)?;
    for (name, bytes) in [("in.img", 8 << 20), ("disk.img", DISK_BYTES), ("out.img", DISK_BYTES)] {
        std::fs::File::create(work.join(name))?.set_len(bytes)?;
    }
    run(Command::new("/usr/sbin/mke2fs").args(["-q", "-F", "-t", "ext4", "-d", "files", "in.img"]).current_dir(&work))
        .await?;
    run(Command::new("/usr/sbin/mke2fs").args(["-q", "-F", "-t", "ext4", "disk.img"]).current_dir(&work)).await?;
    let mut command = Command::new("qemu-system-x86_64");
    let (accel, processor) = if accel == Accel::Kvm { ("q35,accel=kvm", "host") } else { ("q35,accel=tcg", "max") };
    command.current_dir(&work).args(["-machine", accel, "-cpu", processor, "-m", &MEMORY_MIB.to_string()]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]);
    command.arg("-kernel").arg(image.join("vmlinuz")).arg("-initrd").arg(image.join("initrd"));
    command.args(["-append", "console=ttyS0 quiet panic=-1 reboot=t", "-serial", "file:console"]);
    for (name, serial) in [("in.img", "berth-in"), ("out.img", "berth-out"), ("disk.img", "berth-disk")] {
        command.args(["-drive", &format!("id={serial},if=none,format=raw,file={name}")]);
        command.args(["-device", &format!("virtio-blk-pci,drive={serial},serial={serial}")]);
    }
    command.args(["-device", "virtio-serial-pci", "-chardev", "file,id=stdout,path=stdout"]);
    command.args(["-device", "virtserialport,chardev=stdout,name=berth.stdout"]);
    run(&mut command).await?;
    ensure!(std::fs::read_to_string(work.join("stdout"))? == format!("{WORD}\n"));
    ensure!(std::fs::read(work.join("out.img"))?.starts_with(b"berth1 0 -\n"));
    Ok(began.elapsed())
}

async fn run(command: &mut Command) -> eyre::Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
