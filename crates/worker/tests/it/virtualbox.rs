//! VirtualBox without its kernel driver, as scripts/virtualbox.sh puts it there: all but the run itself. Runs are
//! scripts/test-virtualbox.sh's.

use crate::bed::{Bed, machine, virtualbox};
use berth_wire::{
    job::Limits,
    units::{OciDigest, Sha256},
};
use berth_worker::{
    config::{MachineFile, VirtualboxShare},
    runtime::{
        Runtime as _, RuntimeError, RuntimeKind,
        virtualbox::{VirtualBox, VirtualBoxError},
    },
};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

async fn connect(bed: &Bed, share: VirtualboxShare) -> VirtualBox {
    VirtualBox::connect(share, bed.worker, bed.folder.path().join("tasks")).await.expect("scripts/virtualbox.sh")
}

fn of(file: PathBuf) -> MachineFile {
    let digest = OciDigest(Sha256::of(&fs::read(&file).expect("readable")));
    MachineFile { reference: file.display().to_string(), file, digest }
}

/// The bootable disk in another of VirtualBox's formats, by QEMU's means.
fn converted(folder: &Path, format: &[&str], name: &str) -> MachineFile {
    let (from, to) = (machine("disk.raw").file, folder.join(name));
    let ran = Command::new("qemu-img").args(["convert", "-f", "raw", "-O"]).args(format).arg(from).arg(&to).output();
    let ran = ran.expect("qemu-img is installed");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    of(to)
}

/// What VirtualBox knows of the machine that a failed run left.
fn shown(bed: &Bed) -> String {
    let mut command = Command::new(virtualbox(Vec::new()).program);
    let home = bed.request.folder.machine().join("home");
    // The task's own service, which whatever clears the task ends.
    let service = format!("berth-{}-{}", &bed.worker.to_string()[2..18], &bed.request.task.to_string()[2..18]);
    command.env("HOME", &home).env("VBOX_USER_HOME", &home).env("VBOX_IPC_SOCKETID", service);
    let label = format!("berth-{}-{}", bed.worker, bed.request.task);
    let output = command.args(["showvminfo", &label, "--machinereadable"]).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The refusal that a start meets where there is no kernel driver, or another version's.
fn is_no_driver(error: &RuntimeError) -> bool {
    let RuntimeError::VirtualBox(said @ (VirtualBoxError::NoDriver(_) | VirtualBoxError::Driver(_))) = error else {
        return false;
    };
    said.to_string().contains("kernel driver") && error.hint().contains("vboxdrv")
}

#[tokio::test]
async fn a_machine_is_made_as_the_job_asks_and_its_start_refused_with_the_reason() {
    let mut bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let disks = bed.folder.path().join("owner");
    fs::create_dir(&disks).expect("makes");
    let images = [
        machine("disk.vdi"),
        converted(&disks, &["vmdk"], "disk.vmdk"),
        converted(&disks, &["vpc"], "disk.vhd"),
        converted(&disks, &["vpc", "-o", "subformat=fixed"], "fixed.vhd"),
        machine("disk.iso"),
    ];
    bed.runtime = Box::new(connect(&bed, virtualbox(images.to_vec())).await);
    assert_eq!(bed.runtime.images().await.expect("lists").len(), images.len());
    bed.request.limits.cpu_millis = 1_500;
    for image in &images {
        bed.request.image = image.image();
        let error = bed.run().await.expect_err("there is no driver");
        assert!(is_no_driver(&error), "{error:?}");
        let said = shown(&bed);
        for line in ["memory=128", "cpus=2", "cpuexecutioncap=75", "nic1=\"none\"", "nic2=\"none\"", "usb=\"off\""] {
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
        for line in ["vrde=\"off\"", "clipboard=\"disabled\"", "triplefaultreset=\"on\"", "VMState=\"poweroff\""] {
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
        // Both streams go to the worker as they come.
        for line in ["uart2=\"0x02f8,3\"", "uart3=\"0x03e8,10\""] {
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
        for (port, pipe) in [("uartmode2", "stdout"), ("uartmode3", "stderr")] {
            let line = format!("{port}=\"file,{}\"", bed.request.folder.machine().join(pipe).display());
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
        let inner = fs::read_to_string(bed.request.folder.machine().join("home/VirtualBox.xml")).expect("there");
        for value in ["berth-root", "berth-in", "berth-out", "berth-disk"] {
            assert!(inner.contains(&format!("/SerialNumber\" value=\"{value}\"")), "{value} in {inner}");
        }
        assert!(
            inner.contains("VBoxInternal/PowerOffInsteadOfReset\" value=\"1\"") && inner.contains("<MachineEntry ")
        );
        let boots = if image.reference.ends_with(".iso") { "boot1=\"dvd\"" } else { "boot1=\"disk\"" };
        assert!(said.lines().any(|said| said == boots), "{boots} in {said}");
        let disk = |place: &str| {
            let key = format!("\"disks-{place}\"=");
            said.lines().find_map(|line| line.strip_prefix(&key)).unwrap_or_default().trim_matches('"').to_owned()
        };
        // What must not change is beneath a difference in the machine's own folder; a CD can't change.
        let differs = |path: &str| {
            path.contains("/Snapshots/") && path.starts_with(&*bed.request.folder.machine().to_string_lossy())
        };
        assert!(differs(&disk("0-0")) || disk("0-0") == image.file.display().to_string(), "{said}");
        assert_eq!(differs(&disk("0-0")), !image.reference.ends_with(".iso"));
        assert!(differs(&disk("0-1")));
        assert!(disk("1-0").ends_with("/machine/out.vmdk") && disk("1-1").ends_with("/machine/disk.vmdk"), "{said}");
        assert_eq!(of(image.file.clone()).digest, image.digest, "{} is as it was", image.reference);
    }
    bed.clear().await;
}

#[tokio::test]
async fn a_disk_is_copied_once_and_the_copy_kept_as_it_is() {
    let mut bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let copies = bed.folder.path().join("virtualbox");
    // The copy, by its place on the disk and its bytes. (VirtualBox touches its time.)
    let copied = || {
        let files = fs::read_dir(&copies).expect("there").flatten().map(|entry| entry.path());
        let disks = files.filter(|file| file.extension().is_some_and(|ending| ending == "vdi"));
        disks.map(|file| (fs::metadata(&file).expect("there").ino(), of(file).digest)).collect::<Vec<_>>()
    };
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    let first = copied();
    assert_eq!(first.len(), 1);
    assert_ne!(first[0].1, machine("disk.vdi").digest, "VirtualBox writes to what it makes a difference to");
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    bed.reborn().await;
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    assert_eq!(copied(), first, "neither made anew nor written to");
    // One that was tampered with is made anew.
    for file in fs::read_dir(&copies).expect("there").flatten() {
        fs::write(file.path(), b"other").expect("writes");
    }
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    assert_ne!(copied()[0].1, OciDigest(Sha256::of(b"other")));
    connect(&bed, virtualbox(Vec::new())).await;
    assert_eq!(fs::read_dir(&copies).expect("there").count(), 0, "what is no longer shared needs no copy");
    bed.clear().await;
}

#[tokio::test]
async fn the_network_is_there_for_who_may_have_it() {
    let mut bed = Bed::networked(RuntimeKind::Virtualbox, "true").await;
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    assert!(shown(&bed).contains("nic1=\"nat\""));
    // Asked for, and not allowed by the owner.
    bed.reborn().await;
    assert!(bed.runtime.capabilities().withheld(&bed.request.limits, bed.request.wall).is_some());
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    assert!(shown(&bed).contains("nic1=\"none\""));
    bed.clear().await;
}

#[tokio::test]
async fn a_disk_that_is_not_what_it_says_is_not_shared() {
    let bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let folder = bed.folder.path().join("owner");
    fs::create_dir(&folder).expect("makes");
    let renamed = |from: &MachineFile, name: &str| {
        let file = folder.join(name);
        fs::copy(&from.file, &file).expect("copies");
        of(file)
    };
    let changed = |from: &MachineFile, name: &str, at: usize, from_end: bool, byte: u8| {
        let mut bytes = fs::read(&from.file).expect("readable");
        let at = if from_end { bytes.len() - at } else { at };
        bytes[at] = byte;
        fs::write(folder.join(name), bytes).expect("writes");
        of(folder.join(name))
    };
    let text = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("writes");
        of(folder.join(name))
    };
    let vdi = machine("disk.vdi");
    let vmdk = converted(&folder, &["vmdk"], "good.vmdk");
    let vhd = converted(&folder, &["vpc"], "good.vhd");
    let iso = machine("disk.iso");
    let based = folder.join("based.vmdk");
    let create = ["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b"];
    assert!(Command::new("qemu-img").args(create).args([&vmdk.file, &based]).status().expect("runs").success());
    // Its text names a file of the host, which the machine would see as its disk.
    let flat = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
                RW 8 FLAT \"/etc/passwd\" 0\n";
    let mut wrong = renamed(&vdi, "wrong-hash.vdi");
    wrong.digest = OciDigest(Sha256([7; 32]));
    let bad = [
        renamed(&vdi, "vdi.vmdk"),
        renamed(&vmdk, "vmdk.vdi"),
        renamed(&vmdk, "vmdk.vhd"),
        renamed(&vhd, "vhd.iso"),
        renamed(&iso, "iso.vdi"),
        renamed(&machine("disk.raw"), "raw.vdi"),
        renamed(&machine("disk.qcow2"), "disk.qcow2"),
        renamed(&vdi, "no-ending"),
        // Differences to other disks.
        changed(&vdi, "difference.vdi", 76, false, 4),
        changed(&vhd, "difference.vhd", 512 - 63, true, 4),
        of(based),
        text("flat.vmdk", flat),
        wrong,
        MachineFile { file: folder.join("absent.vdi"), ..vdi.clone() },
    ];
    for image in bad {
        let shared = connect(&bed, virtualbox(vec![image.clone()])).await;
        assert_eq!(shared.images().await.expect("lists"), [], "{}", image.file.display());
    }
    let good = vec![vdi, vmdk, vhd, iso];
    assert_eq!(connect(&bed, virtualbox(good.clone())).await.images().await.expect("lists").len(), good.len());
    bed.clear().await;
}

#[tokio::test]
async fn the_probe_says_what_is_missing_and_leaves_nothing() {
    let bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let error = bed.runtime.probe().await.expect_err("there is no driver");
    assert!(is_no_driver(&error), "{error:?}");
    assert_eq!(fs::read_dir(bed.folder.path().join("tasks")).expect("there").count(), 1, "the bed's own task");
    assert_eq!(bed.remains().await, Vec::<String>::new());
    bed.clear().await;
}

#[tokio::test]
async fn what_is_no_virtualbox_is_told_so() {
    let bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let tasks = bed.folder.path().join("tasks");
    let connect = async |program: &str| {
        let share = VirtualboxShare { program: program.into(), ..virtualbox(Vec::new()) };
        VirtualBox::connect(share, bed.worker, tasks.clone()).await.expect_err("is none")
    };
    let absent = connect("/nowhere/VBoxManage").await;
    assert!(matches!(absent, RuntimeError::VirtualBox(VirtualBoxError::Absent { .. })), "{absent:?}");
    assert!(absent.hint().contains("program"), "{}", absent.hint());
    // A program that answers something else first, as the script in the PATH does with its warnings.
    let foreign = connect("/bin/echo").await;
    assert!(matches!(foreign, RuntimeError::VirtualBox(VirtualBoxError::Foreign { .. })), "{foreign:?}");
    bed.clear().await;
}

#[tokio::test]
async fn what_the_runtime_lacks_is_refused() {
    let bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let can = bed.runtime.capabilities();
    let (all, wall) = (bed.request.limits, bed.request.wall);
    assert_eq!((can.missing(&all), can.withheld(&all, wall)), (None, None));
    assert!(can.missing(&Limits { pids: 10, ..all }).is_some_and(|said| said.contains("processes")));
    assert!(can.missing(&Limits { memory_bytes: 1 << 20, ..all }).is_some_and(|said| said.contains("memory")));
    assert!(can.withheld(&Limits { network: true, ..all }, wall).is_some());
    assert_eq!(can.withheld(&Limits { cpu_millis: 250, ..all }, wall), None, "VirtualBox gives parts of cores");
    bed.clear().await;
}

/// Makes a machine until its VirtualBox serves, then forgets the run as a dying process would.
async fn die(bed: &Bed) {
    let none = CancellationToken::new();
    let serves = async {
        while !bed.services().iter().any(|service| service.starts_with(".vbox-")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = bed.runtime.run(&bed.request, &none) => panic!("ended too early: {ended:?}"),
        () = serves => {}
    }
}

#[tokio::test]
async fn the_next_life_clears_what_nobody_holds() {
    let mut bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    let neighbour = Bed::new(RuntimeKind::Virtualbox, "true").await;
    tokio::join!(die(&bed), die(&neighbour));
    assert!(bed.services().len() > 1, "a service process outlives its worker");
    bed.reborn().await;
    bed.runtime.sweep(&HashSet::from([bed.request.task])).await.expect("sweeps");
    assert!(bed.request.folder.machine().exists(), "it is held");
    bed.runtime.sweep(&HashSet::new()).await.expect("sweeps");
    assert_eq!(bed.remains().await, Vec::<String>::new());
    assert!(!bed.request.folder.path().exists());
    assert!(neighbour.request.folder.machine().exists(), "another worker's");
    bed.runtime.sweep(&HashSet::new()).await.expect("may be repeated");
    neighbour.clear().await;
}

#[tokio::test]
async fn a_machine_that_was_half_made_is_made_anew() {
    let mut bed = Bed::new(RuntimeKind::Virtualbox, "true").await;
    die(&bed).await;
    bed.reborn().await;
    assert!(is_no_driver(&bed.run().await.expect_err("no driver")));
    assert!(shown(&bed).contains("\"disks-1-1\"="));
    bed.clear().await;
}

/// Where there is the kernel driver: scripts/test-virtualbox.sh.
#[cfg(feature = "virtualbox-driver")]
mod started {
    use super::*;
    use berth_worker::runtime::Ended;

    #[tokio::test]
    async fn a_live_cd_boots_and_runs_a_job() {
        let mut bed = Bed::new(RuntimeKind::Virtualbox, "cat /iexec_in/a; echo x > /iexec_out/x; exit 3").await;
        bed.input("a", b"live\n");
        let cd = machine("disk.iso");
        bed.runtime = Box::new(connect(&bed, virtualbox(vec![cd.clone()])).await);
        bed.request.image = cd.image();
        let before = bed.base().await;
        let outcome = bed.run().await.expect("runs");
        assert_eq!((outcome.ended, bed.stdout().as_str()), (Ended::Exited(3), "live\n"), "{}", bed.stderr());
        assert_eq!(fs::read(outcome.output.join("x")).expect("there"), b"x\n");
        assert_eq!(bed.base().await, before, "nobody writes to a CD");
        bed.clear().await;
    }
}
