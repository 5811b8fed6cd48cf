//! Virtual machines: disks that boot by themselves, and disks that are not what they say.

use crate::bed::{Bed, emulated, machine};
use berth_wire::units::{OciDigest, Sha256};
use berth_worker::{
    config::MachineFile,
    runtime::{Ended, Runtime as _, RuntimeKind, qemu::Qemu},
};
use std::{fs, path::Path, process::Command};

async fn share(bed: &Bed, images: Vec<MachineFile>) -> Qemu {
    Qemu::connect(emulated(images), bed.worker, bed.folder.path().join("tasks")).await.expect("QEMU is installed")
}

#[tokio::test]
async fn a_disk_of_each_format_boots_by_itself_and_is_not_written_to() {
    let mut bed = Bed::new(RuntimeKind::Qemu, "cat /iexec_in/a; echo x > /iexec_out/x; exit 3").await;
    bed.input("a", b"disk\n");
    let disks = ["disk.qcow2", "disk.vdi", "disk.raw"].map(machine);
    bed.runtime = Box::new(share(&bed, disks.to_vec()).await);
    let before = bed.base().await;
    for disk in disks {
        bed.request.image = disk.image();
        let outcome = bed.run().await.expect("runs");
        assert_eq!((outcome.ended, bed.stdout().as_str()), (Ended::Exited(3), "disk\n"), "{}", disk.reference);
        assert!(outcome.output.join("x").is_file());
    }
    assert_eq!(bed.base().await, before);
    bed.clear().await;
}

/// A disk that qemu-img makes.
fn made(folder: &Path, name: &str, arguments: &[&str]) -> MachineFile {
    let file = folder.join(name);
    let output = Command::new("qemu-img").args(arguments).arg(&file).output().expect("qemu-img is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The size comes last on its command line, where it is needed.
    of(file)
}

fn of(file: std::path::PathBuf) -> MachineFile {
    let digest = OciDigest(Sha256::of(&fs::read(&file).expect("readable")));
    MachineFile { reference: file.display().to_string(), file, digest }
}

#[tokio::test]
async fn a_disk_that_is_not_what_it_says_is_not_shared() {
    let bed = Bed::new(RuntimeKind::Qemu, "true").await;
    let folder = bed.folder.path();
    let plain = folder.join("plain");
    fs::write(&plain, vec![0; 1 << 20]).expect("writes");
    let convert = |format: &str, name: &str| {
        made(folder, name, &["convert", "-f", "raw", "-O", format, &plain.display().to_string()])
    };
    let qcow2 = convert("qcow2", "good.qcow2");
    // Its header names a file of the host, which QEMU would show to the machine.
    let backed = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd"];
    let backed = made(folder, "backed.qcow2", &backed);
    let elsewhere = folder.join("elsewhere.qcow2");
    let create = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on"])
        .arg(&elsewhere)
        .arg("1M")
        .current_dir(folder)
        .status();
    assert!(create.expect("runs").success());
    let renamed = |from: &MachineFile, name: &str| {
        let file = folder.join(name);
        fs::copy(&from.file, &file).expect("copies");
        of(file)
    };
    let mut changed = renamed(&qcow2, "changed.qcow2");
    changed.digest = OciDigest(Sha256([7; 32]));
    let document = folder.join("outside.json");
    let part = r#"{"file":"../plain","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
    fs::write(&document, format!(r#"{{"version":1,"append":"","kernel":{part},"initrd":{part}}}"#)).expect("writes");
    let bad = [
        backed,
        of(elsewhere),
        renamed(&qcow2, "qcow2.raw"),
        renamed(&qcow2, "qcow2.vdi"),
        renamed(&qcow2, "no-ending"),
        renamed(&convert("vdi", "good.vdi"), "vdi.img"),
        renamed(&convert("vmdk", "x.vmdk"), "vmdk.raw"),
        of(document),
        changed,
        MachineFile { file: folder.join("absent.qcow2"), ..qcow2.clone() },
    ];
    for image in bad {
        let qemu = share(&bed, vec![image.clone()]).await;
        assert_eq!(qemu.images().await.expect("lists"), [], "{}", image.file.display());
    }
    let good = vec![qcow2, convert("vdi", "another.vdi"), renamed(&of(plain.clone()), "plain.raw")];
    assert_eq!(share(&bed, good.clone()).await.images().await.expect("lists").len(), good.len());
    bed.clear().await;
}

#[tokio::test]
async fn a_machine_that_gives_no_result_or_never_ends_is_told_apart() {
    let mut bed = Bed::new(RuntimeKind::Qemu, "true").await;
    // Sectors that boot: one halts for ever, one resets the machine at once.
    let sector = |name: &str, code: &[u8]| {
        let mut sector = code.to_vec();
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        sector.resize(1 << 20, 0);
        let file = bed.folder.path().join(name);
        fs::write(&file, sector).expect("writes");
        of(file)
    };
    let halts = sector("halts.raw", &[0xfa, 0xf4, 0xeb, 0xfd]);
    let resets = sector("resets.raw", &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd]);
    bed.runtime = Box::new(share(&bed, vec![halts.clone(), resets.clone()]).await);
    bed.request.image = resets.image();
    assert_eq!(bed.run().await.expect("runs").ended, Ended::Exited(125));
    assert!(bed.stderr().contains("without a result"), "{}", bed.stderr());
    bed.request.image = halts.image();
    bed.request.wall = std::time::Duration::from_secs(3);
    assert_eq!(bed.run().await.expect("runs").ended, Ended::TimedOut);
    bed.clear().await;
}
