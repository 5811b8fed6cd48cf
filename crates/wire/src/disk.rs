//! The forms of a virtual machine's disk, and what tells that a file has one: its name's ending, and its first and last
//! bytes.

use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// So much of a file's beginning says what it is: a CD's own header is behind 32 KiB.
const HEAD_BYTES: u64 = 64 << 10;
/// So much of its end does, where the beginning does not.
const FOOT_BYTES: u64 = 512;

/// The form of a virtual machine's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// A live CD.
    Iso,
    /// VirtualBox's own.
    Vdi,
    /// VMware's.
    Vmdk,
    /// Microsoft's.
    Vhd,
    /// QEMU's own.
    Qcow2,
    /// The bytes of the disk, and nothing else.
    Raw,
    /// A document that names a kernel, an initial RAM disk, and perhaps a disk, by their sha256.
    Machine,
}

/// What stands where in a file of a form.
const SIGNS: &[(DiskFormat, usize, &[u8])] = &[
    (DiskFormat::Iso, 0x8001, b"CD001"),
    (DiskFormat::Vdi, 0x40, &[0x7f, 0x10, 0xda, 0xbe]),
    (DiskFormat::Vmdk, 0, b"KDMV"),
    (DiskFormat::Vmdk, 0, b"COWD"),
    // One that is a text, and names its parts.
    (DiskFormat::Vmdk, 0, b"# Disk DescriptorFile"),
    (DiskFormat::Vhd, 0, VHD),
    (DiskFormat::Qcow2, 0, b"QFI\xfb"),
    (DiskFormat::Machine, 0, b"{"),
];
const VHD: &[u8] = b"conectix";
/// The beginnings of forms that nothing here takes.
const FOREIGN: &[(&str, &[u8])] = &[
    ("vhdx", b"vhdxfile"),
    ("qed", b"QED\0"),
    ("luks", b"LUKS\xba\xbe"),
    ("parallels", b"WithoutFreeSpace"),
    ("parallels", b"WithouFreSpacExt"),
    ("bochs", b"Bochs Virtual HD Image"),
];

impl DiskFormat {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Iso, Self::Vdi, Self::Vmdk, Self::Vhd, Self::Qcow2, Self::Raw, Self::Machine];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::Vdi => "vdi",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Machine => "machine",
        }
    }

    /// How names of such files end, in lower case, without the dot.
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Iso => &["iso"],
            Self::Vdi => &["vdi"],
            Self::Vmdk => &["vmdk"],
            Self::Vhd => &["vhd"],
            Self::Qcow2 => &["qcow2"],
            Self::Raw => &["raw", "img"],
            Self::Machine => &["json"],
        }
    }

    /// Whether VirtualBox attaches it.
    pub const fn is_virtualbox(self) -> bool {
        matches!(self, Self::Iso | Self::Vdi | Self::Vmdk | Self::Vhd)
    }

    /// Whether a worker's QEMU takes it.
    pub const fn is_qemu(self) -> bool {
        matches!(self, Self::Qcow2 | Self::Vdi | Self::Raw | Self::Machine)
    }

    /// The form that a file's name says, in whatever case.
    pub fn of_name(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|format| format.endings().contains(&ending.as_str()))
    }

    /// The form that a file's [`ends`] say. A raw disk says nothing.
    ///
    /// # Errors
    /// The name of a form that nothing here takes.
    pub fn of_bytes(head: &[u8], foot: &[u8]) -> Result<Self, &'static str> {
        let is_there = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
        if let Some((name, _)) = FOREIGN.iter().find(|(_, bytes)| is_there(0, bytes)) {
            return Err(name);
        }
        let found = SIGNS.iter().find(|(_, at, bytes)| is_there(*at, bytes)).map(|(format, ..)| *format);
        // One of fixed size has its sign in its last sector alone.
        let fixed = || foot.starts_with(VHD).then_some(Self::Vhd);
        Ok(found.or_else(fixed).unwrap_or(Self::Raw))
    }
}

/// As much of a file's beginning and of its end as says what it is; less where it has less.
///
/// # Errors
/// If it can't be read.
pub fn ends(mut file: impl Read + Seek) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut head, mut foot) = (Vec::new(), Vec::new());
    file.rewind()?;
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(FOOT_BYTES)))?;
    file.take(FOOT_BYTES).read_to_end(&mut foot)?;
    Ok((head, foot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_told_by_a_name_and_by_bytes() {
        for format in DiskFormat::ALL {
            for ending in format.endings() {
                assert_eq!(DiskFormat::of_name(Path::new(&format!("a.b.{ending}"))), Some(format));
                assert_eq!(DiskFormat::of_name(Path::new(&ending.to_uppercase())), None, "a name without a dot");
                assert_eq!(DiskFormat::of_name(Path::new(&format!("A.{}", ending.to_uppercase()))), Some(format));
            }
        }
        for (format, at, sign) in SIGNS {
            let mut head = vec![0; *at];
            assert_eq!(DiskFormat::of_bytes(&head, &[]), Ok(DiskFormat::Raw));
            head.extend_from_slice(sign);
            assert_eq!(DiskFormat::of_bytes(&head, &[]), Ok(*format));
        }
        assert_eq!(DiskFormat::of_bytes(b"", b"conectix and more"), Ok(DiskFormat::Vhd));
        assert_eq!(DiskFormat::of_bytes(b"LUKS\xba\xbe", b""), Err("luks"));
    }
}
