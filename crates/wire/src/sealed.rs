//! A sealed result (ADR 0006): all that a worker would hand over of a task, in one file that only the job's recipient can
//! open.
//!
//! It is an age file (age-encryption.org/v1) to one X25519 recipient, over a tar. The tar's first entry is [`INDEX`], the
//! canonical form of an [`Index`]; the others are the blobs that it leads to, each under its sha256, in rising order, each
//! once. Neither side ever holds more of it in memory than a piece.

use crate::{
    canonical,
    manifest::{Content, Manifest},
    units::Sha256,
};
use age::x25519;
use bech32::{FromBase32 as _, ToBase32 as _};
use core::{fmt, str::FromStr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Digest as _;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use thiserror::Error;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// The first entry.
pub const INDEX: &str = "index.json";
/// The largest index: it holds a few hashes, and a reason in words.
const MAX_INDEX_BYTES: u64 = 64 << 10;
/// The longest reason.
const MAX_WORDS_BYTES: usize = 2_000;
/// The largest manifest that is read: some hundred thousand files.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// The longest header of an age file. To one recipient it has some hundred bytes; age would read a long one again and again
/// from its beginning.
const MAX_HEADER_BYTES: u64 = 4 << 10;
/// What comes before the header's last word.
const HEADER_ENDS: &[u8] = b"\n--- ";
/// More blobs than this are no result.
const MAX_BLOBS: usize = 100_000;
/// How much of a wrong recipient is told.
const MAX_SHOWN_CHARS: usize = 80;
/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What lies behind the other entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Always 1.
    pub version: u32,
    /// The manifest: of the result or, for a failure, of what the job had written when it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Sha256>,
    /// Standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Content>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Content>,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Whom something is sealed to: the public half of an [`Identity`], `age1…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient(String);

/// The text is no recipient.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no key to encrypt to: write one as `berth wallet recipient` or `age-keygen` shows it, `age1…`")]
pub struct ParseRecipientError(String);

impl FromStr for Recipient {
    type Err = ParseRecipientError;

    fn from_str(text: &str) -> Result<Self, ParseRecipientError> {
        // Written otherwise, the same recipient would make another job.
        let is_plain = |key: &x25519::Recipient| key.to_string() == text;
        match text.parse().ok().filter(is_plain) {
            Some(_) if is_sound(text) => Ok(Self(text.to_owned())),
            Some(_) | None => Err(ParseRecipientError(text.chars().take(MAX_SHOWN_CHARS).collect())),
        }
    }
}

/// Whether a key that age has parsed makes secrets at all. A point of low order makes the same one with everybody, which
/// anybody knows; age panics when it meets that.
fn is_sound(text: &str) -> bool {
    let bytes = bech32::decode(text).ok().and_then(|(_, digits, _)| Vec::from_base32(&digits).ok());
    let Some(Ok(point)) = bytes.map(<[u8; 32]>::try_from) else { return false };
    // Any scalar shows it: all of them are multiples of the cofactor.
    StaticSecret::from([1; 32]).diffie_hellman(&point.into()).was_contributory()
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What opens what was sealed to its recipient. `Debug` shows the recipient only, and dropping it wipes it.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

/// What HKDF is told that its output is for.
const KEY_OF_WALLET: &[u8] = b"berth/result-key/v1";

/// The text is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {0} is no identity of age's: AGE-SECRET-KEY-1…, as `age-keygen` makes it")]
pub struct ParseIdentityError(usize);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

impl Identity {
    /// A wallet's own: X25519's scalar is HKDF-SHA256 (without salt) of the wallet's signature over its `ResultKey`.
    pub fn of_wallet(signature: &[u8]) -> Self {
        let mut scalar = Zeroizing::new([0; 32]);
        hkdf::Hkdf::<sha2::Sha256>::new(None, signature)
            .expand(KEY_OF_WALLET, &mut *scalar)
            .expect("32 bytes are fewer than HKDF gives");
        // age takes an identity as a text only.
        let text = bech32::encode("age-secret-key-", scalar.to_base32(), bech32::Variant::Bech32);
        let text = Zeroizing::new(text.expect("the prefix is one that age has chosen").to_uppercase());
        Self(text.parse().expect("every 32 bytes make an X25519 key"))
    }

    /// Those of a file: one a line, but for empty lines and comments.
    ///
    /// # Errors
    /// [`ParseIdentityError`] with the line that is none.
    pub fn of_file(text: &str) -> Result<Vec<Self>, ParseIdentityError> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines.map(|(at, line)| line.parse().map(Self).map_err(|_| ParseIdentityError(at + 1))).collect()
    }

    /// To whom it belongs.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public().to_string())
    }
}

/// What is to be sealed. Its blobs lie in a folder, each under its sha256; the manifest itself need not.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The manifest's bytes.
    pub manifest: Option<&'a [u8]>,
    /// Standard output.
    pub stdout: Option<Content>,
    /// Standard error.
    pub stderr: Option<Content>,
    /// Why it failed, in words.
    pub failure: Option<&'a str>,
    /// The folder.
    pub folder: &'a Path,
}

impl Parts<'_> {
    /// Seals them. Blocks.
    ///
    /// # Errors
    /// A blob can't be read, or the file not be written.
    ///
    /// # Panics
    /// The manifest is none: it is the caller's own.
    pub fn seal(&self, recipient: &Recipient, into: impl Write) -> io::Result<Content> {
        let key: x25519::Recipient = recipient.0.parse().expect("it was parsed when it was made");
        let encryptor = age::Encryptor::with_recipients([&key as &dyn age::Recipient].into_iter());
        let counted = Counted { inner: into, hash: sha2::Sha256::new(), size: 0 };
        let mut tar = tar::Builder::new(encryptor.map_err(io::Error::other)?.wrap_output(counted)?);
        let index = Index {
            version: 1,
            manifest: self.manifest.map(Sha256::of),
            stdout: self.stdout,
            stderr: self.stderr,
            failure: self.failure.map(|words| words[..words.floor_char_boundary(MAX_WORDS_BYTES)].to_owned()),
        };
        let index_bytes = canonical::to_bytes(&index);
        add(&mut tar, INDEX, index_bytes.len() as u64, &index_bytes[..])?;
        for (name, size) in self.blobs() {
            let text = name.to_string();
            match self.manifest.filter(|_| index.manifest == Some(name)) {
                Some(bytes) => add(&mut tar, &text, size, bytes)?,
                None => add(&mut tar, &text, size, File::open(self.folder.join(&text))?)?,
            }
        }
        let mut counted = tar.into_inner()?.finish()?;
        counted.inner.flush()?;
        Ok(Content { sha256: Sha256(counted.hash.finalize().into()), size: counted.size })
    }

    /// Every blob that the index leads to.
    fn blobs(&self) -> BTreeMap<Sha256, u64> {
        let manifest = self.manifest.map(|bytes| Manifest::from_bytes(bytes).expect("the caller has made it"));
        let named = manifest.iter().flat_map(Manifest::blobs).chain(self.stdout).chain(self.stderr);
        named.chain(self.manifest.map(Content::of)).map(|content| (content.sha256, content.size)).collect()
    }
}

/// Adds a file of this size.
fn add(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, bytes: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    // A file that has become shorter or longer would move all that comes after it.
    let mut exactly = Exactly { inner: bytes, left: size };
    tar.append(&header, &mut exactly)?;
    exactly.end()
}

/// A reader that has as many bytes as was said, or fails.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        if read == 0 && most > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }
}

impl<R: Read> Exactly<R> {
    fn end(mut self) -> io::Result<()> {
        match self.inner.read(&mut [0])? {
            0 if self.left == 0 => Ok(()),
            _ => Err(io::Error::other("a file of the result has another size than it had")),
        }
    }
}

/// Counts and hashes what is written.
struct Counted<W> {
    inner: W,
    hash: sha2::Sha256,
    size: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Why something sealed is not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It is for somebody else.
    #[error("it is encrypted to another key than those given")]
    NotForUs,
    /// It is cut off, or was changed, or never was what it should be.
    #[error("it is damaged, or no encrypted result")]
    Damaged(#[source] Box<dyn core::error::Error + Send + Sync>),
    /// What is inside is not what belongs there.
    #[error("it opens, and what it holds is no result: {0}")]
    Unfit(String),
    /// It can't be unpacked: this machine's fault.
    #[error("{path} can't be written or read")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn unfit<T>(what: impl Into<String>) -> Result<T, OpenError> {
    Err(OpenError::Unfit(what.into()))
}

fn damaged(error: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> OpenError {
    OpenError::Damaged(error.into())
}

/// Opens what is sealed, and puts its blobs into a folder that is there, each under its sha256. Blocks.
///
/// All that the index leads to is there then, with the right hashes and sizes; nothing that was sealed by a stranger can
/// lie elsewhere, or be larger than the file that it came in. Whether it is the result that the chain knows is left to the
/// caller. After an error, what is in the folder means nothing.
///
/// # Errors
/// [`OpenError`].
pub fn open(mut sealed: impl Read, identities: &[Identity], into: &Path) -> Result<Index, OpenError> {
    let mut head = Vec::new();
    sealed.by_ref().take(MAX_HEADER_BYTES).read_to_end(&mut head).map_err(damaged)?;
    if !head.windows(HEADER_ENDS.len()).any(|part| part == HEADER_ENDS) {
        return Err(damaged("it does not begin as an encrypted file does"));
    }
    let decryptor = age::Decryptor::new(head.as_slice().chain(sealed)).map_err(damaged)?;
    let keys = identities.iter().map(|identity| &identity.0 as &dyn age::Identity);
    let mut opened = decryptor.decrypt(keys).map_err(|error| {
        let is_for_others = matches!(error, age::DecryptError::NoMatchingKeys);
        if is_for_others { OpenError::NotForUs } else { damaged(error) }
    })?;
    let (index, found) = unpack(&mut opened, into)?;
    // Only its end shows that nothing was cut off.
    io::copy(&mut opened, &mut io::sink()).map_err(damaged)?;
    if index.version != 1 {
        return unfit(format!("it has version {}, and this program knows version 1", index.version));
    }
    let has = |content: Content| match found.get(&content.sha256) {
        Some(size) if *size == content.size => Ok(()),
        Some(size) => unfit(format!("{} has {size} bytes, not {}", content.sha256, content.size)),
        None => unfit(format!("{} is not there", content.sha256)),
    };
    index.stdout.into_iter().chain(index.stderr).try_for_each(has)?;
    if let Some(name) = index.manifest {
        match found.get(&name) {
            Some(size) if *size <= MAX_MANIFEST_BYTES => {}
            Some(_) => return unfit("its manifest is too large"),
            None => return unfit("its manifest is not there"),
        }
        let path = into.join(name.to_string());
        let bytes = fs::read(&path).map_err(|source| OpenError::Disk { path, source })?;
        let manifest = Manifest::from_bytes(&bytes).or_else(|error| unfit(error.to_string()))?;
        manifest.blobs().try_for_each(has)?;
    }
    Ok(index)
}

/// Unpacks the tar; gives its index, and the blobs with their sizes.
fn unpack(from: impl Read, into: &Path) -> Result<(Index, BTreeMap<Sha256, u64>), OpenError> {
    let mut archive = tar::Archive::new(from);
    let (mut index, mut found) = (None, BTreeMap::new());
    // Raw: no entry says anything of another one, and nothing but plain files is known.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let (size, name) = (entry.header().entry_size().map_err(damaged)?, entry.path_bytes().into_owned());
        let name = String::from_utf8_lossy(&name).into_owned();
        if !entry.header().entry_type().is_file() {
            return unfit(format!("`{}` is no plain file", name.escape_debug()));
        }
        if index.is_none() {
            if name != INDEX || size > MAX_INDEX_BYTES {
                return unfit(format!("it does not begin with {INDEX}"));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            index = Some(canonical::from_bytes::<Index>(&bytes).or_else(|error| unfit(error.to_string()))?);
            continue;
        }
        let Ok(sha256) = name.parse::<Sha256>() else {
            return unfit(format!("`{}` is no name of a blob", name.escape_debug()));
        };
        if found.last_key_value().is_some_and(|(last, _)| *last >= sha256) {
            return unfit(format!("{sha256} is there twice, or out of order"));
        }
        place(&mut entry, Content { sha256, size }, &into.join(&name))?;
        found.insert(sha256, size);
        if found.len() > MAX_BLOBS {
            return unfit(format!("it has more than {MAX_BLOBS} blobs"));
        }
    }
    match index {
        Some(index) => Ok((index, found)),
        None => unfit("it is empty"),
    }
}

/// Writes a blob, and compares it with its name.
fn place(from: &mut impl Read, wanted: Content, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Disk { path: path.to_owned(), source };
    let mut file = File::options().write(true).create_new(true).open(path).map_err(failed)?;
    let (mut hash, mut size, mut piece) = (sha2::Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = from.read(&mut piece).map_err(damaged)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        file.write_all(&piece[..read]).map_err(failed)?;
        size += read as u64;
    }
    let got = Content { sha256: Sha256(hash.finalize().into()), size };
    if got == wanted { Ok(()) } else { unfit(format!("{} is another blob than its name says", wanted.sha256)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::File as Listed;

    const SIGNATURE: [u8; 65] = [7; 65];

    fn identity(byte: u8) -> Identity {
        Identity::of_wallet(&[byte; 65])
    }

    /// A result of two files of the same bytes, one in a folder, and of both streams.
    struct Made {
        folder: tempfile::TempDir,
        manifest: Vec<u8>,
        stdout: Content,
        stderr: Content,
    }

    impl Made {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let keep = |bytes: &[u8]| {
                let content = Content::of(bytes);
                fs::write(folder.path().join(content.sha256.to_string()), bytes).expect("writes");
                content
            };
            let (stdout, stderr, file) = (keep(b"said"), keep(b""), keep(&[b'x'; 3 * PIECE_BYTES + 1]));
            let listed = |path: &str| Listed { path: path.into(), sha256: file.sha256, size: file.size };
            let manifest = Manifest::new(0, vec![listed("a"), listed("b/c")], stdout).to_bytes();
            Self { folder, manifest, stdout, stderr }
        }

        fn parts(&self) -> Parts<'_> {
            let (stdout, stderr) = (Some(self.stdout), Some(self.stderr));
            Parts { manifest: Some(&self.manifest), stdout, stderr, failure: None, folder: self.folder.path() }
        }

        fn sealed(&self) -> Vec<u8> {
            let mut sealed = Vec::new();
            let content = self.parts().seal(&identity(1).recipient(), &mut sealed).expect("seals");
            assert_eq!(content, Content::of(&sealed));
            sealed
        }
    }

    fn opened(sealed: &[u8], with: &[Identity]) -> (Result<Index, OpenError>, tempfile::TempDir) {
        let into = tempfile::tempdir().expect("a folder");
        (open(sealed, with, into.path()), into)
    }

    #[test]
    fn what_is_sealed_opens_to_the_same_with_the_right_key_only() {
        let made = Made::new();
        let sealed = made.sealed();
        assert_ne!(sealed, made.sealed(), "each time another file");
        let (index, into) = opened(&sealed, &[identity(2), identity(1)]);
        let index = index.expect("it is for the second");
        assert_eq!(index.manifest, Some(Sha256::of(&made.manifest)));
        assert_eq!((index.stdout, index.stderr, index.failure), (Some(made.stdout), Some(made.stderr), None));
        for (name, size) in made.parts().blobs() {
            let read = Content::read(File::open(into.path().join(name.to_string())).expect("there")).expect("reads");
            assert_eq!(read, Content { sha256: name, size });
        }
        assert!(matches!(opened(&sealed, &[identity(2)]).0, Err(OpenError::NotForUs)));
        assert!(matches!(opened(&sealed, &[]).0, Err(OpenError::NotForUs)));
        let words = Parts { manifest: None, failure: Some("because"), ..made.parts() };
        let mut sealed = Vec::new();
        words.seal(&identity(1).recipient(), &mut sealed).expect("seals");
        let index = opened(&sealed, &[identity(1)]).0.expect("opens");
        assert_eq!((index.manifest, index.failure.as_deref()), (None, Some("because")));
    }

    #[test]
    fn what_is_cut_off_or_changed_anywhere_does_not_open() {
        let sealed = Made::new().sealed();
        let ours = [identity(1)];
        for at in [0, 10, 100, 200, 250, 70_000, sealed.len() - 20, sealed.len() - 1] {
            let cut = opened(&sealed[..at], &ours).0;
            assert!(matches!(cut, Err(OpenError::Damaged(_))), "cut at {at}: {cut:?}");
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, &ours).0.is_err(), "changed at {at}");
        }
        // At the end of a piece, where only its mark says that more should come.
        let header = sealed.windows(5).position(|text| text == b"\n--- ").expect("a header") + 5 + 43 + 1;
        let cut = opened(&sealed[..header + 16 + PIECE_BYTES + 16], &ours).0;
        assert!(matches!(cut, Err(OpenError::Damaged(_) | OpenError::Unfit(_))), "{cut:?}");
        assert!(matches!(opened(b"no such file", &ours).0, Err(OpenError::Damaged(_))));
        let long = [b"age-encryption.org/v1\n".to_vec(), b"-> X25519 AAAA\n".repeat(1_000_000), sealed].concat();
        assert!(matches!(opened(&long, &ours).0, Err(OpenError::Damaged(_))), "it is not read to its end");
    }

    #[test]
    fn a_file_that_has_another_size_than_it_had_is_not_sealed() {
        let made = Made::new();
        let path = made.folder.path().join(made.stdout.sha256.to_string());
        for bytes in ["sai", "saids"] {
            fs::write(&path, bytes).expect("writes");
            made.parts().seal(&identity(1).recipient(), io::sink()).expect_err(bytes);
        }
        fs::remove_file(&path).expect("removes");
        made.parts().seal(&identity(1).recipient(), io::sink()).expect_err("a file that is gone");
    }

    /// Seals a tar that somebody has made as he likes.
    fn forged(make: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        make(&mut builder);
        let tar = builder.into_inner().expect("memory");
        let key: x25519::Recipient = identity(1).recipient().0.parse().expect("ours");
        let encryptor = age::Encryptor::with_recipients([&key as &dyn age::Recipient].into_iter()).expect("one");
        let mut sealed = encryptor.wrap_output(Vec::new()).expect("memory");
        sealed.write_all(&tar).expect("memory");
        sealed.finish().expect("memory")
    }

    fn index(index: &Index) -> Vec<u8> {
        canonical::to_bytes(index)
    }

    fn entry(tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, bytes: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(kind);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").expect("a short name");
        }
        header.set_cksum();
        tar.append(&header, bytes).expect("memory");
    }

    #[test]
    fn what_a_hostile_worker_has_sealed_comes_to_no_place_but_its_own() {
        use tar::EntryType;
        let plain = Index { version: 1, ..Index::default() };
        let blob = Sha256::of(b"blob").to_string();
        let (small, large) = (Sha256::of(b"1").to_string(), Sha256::of(b"2").to_string());
        let (first, last) = if small < large { (b"1", b"2") } else { (b"2", b"1") };
        type Entries = Vec<(String, EntryType, Vec<u8>)>;
        let begins = || (INDEX.to_owned(), EntryType::Regular, index(&plain));
        let of = |name: &str, kind: EntryType, bytes: &[u8]| -> Entries {
            vec![begins(), (name.to_owned(), kind, bytes.to_vec())]
        };
        let with = |index_of: Index| -> Entries { vec![(INDEX.to_owned(), EntryType::Regular, index(&index_of))] };
        let file = |bytes: &[u8]| (Sha256::of(bytes).to_string(), EntryType::Regular, bytes.to_vec());
        let manifest = Manifest::new(0, Vec::new(), Content::of(b"said")).to_bytes();
        let cases: Vec<(&str, Entries)> = vec![
            ("nothing", Vec::new()),
            ("no index", vec![file(b"blob")]),
            ("an index that is none", vec![(INDEX.to_owned(), EntryType::Regular, b"{}".to_vec())]),
            ("a later version", with(Index { version: 2, ..Index::default() })),
            ("a large index", vec![(INDEX.to_owned(), EntryType::Regular, vec![b' '; 70_000])]),
            ("a symbolic link", of(&blob, EntryType::Symlink, b"")),
            ("a hard link", of(&blob, EntryType::Link, b"")),
            ("a folder", of(&blob, EntryType::Directory, b"")),
            ("a device", of(&blob, EntryType::Char, b"")),
            ("a name of the next one", of(&blob, EntryType::GNULongName, b"../../escaped")),
            ("words of the next one", of(&blob, EntryType::XHeader, b"18 path=../escaped\n")),
            ("a place outside", of("../escaped", EntryType::Regular, b"escaped")),
            ("a place of the system's", of("/tmp/escaped", EntryType::Regular, b"escaped")),
            ("a second index", of(INDEX, EntryType::Regular, &index(&plain))),
            ("another blob than its name", of(&blob, EntryType::Regular, b"other")),
            ("a blob twice", vec![begins(), file(b"blob"), file(b"blob")]),
            ("blobs out of order", vec![begins(), file(last), file(first)]),
            ("a stream that is not there", with(Index { stdout: Some(Content::of(b"said")), ..plain.clone() })),
            ("a manifest that is not there", with(Index { manifest: Some(Sha256::of(b"x")), ..plain.clone() })),
            ("a manifest that is none", {
                let mut entries = with(Index { manifest: Some(Sha256::of(b"blob")), ..plain.clone() });
                entries.push(file(b"blob"));
                entries
            }),
            ("a manifest without its files", {
                let mut entries = with(Index { manifest: Some(Sha256::of(&manifest)), ..plain.clone() });
                entries.push(file(&manifest));
                entries
            }),
            ("a stream of another size", {
                let content = Content { size: 5, ..Content::of(b"said") };
                let mut entries = with(Index { stderr: Some(content), ..plain.clone() });
                entries.push(file(b"said"));
                entries
            }),
        ];
        for (name, entries) in cases {
            let sealed = forged(|tar| entries.iter().for_each(|(name, kind, bytes)| entry(tar, name, *kind, bytes)));
            let within = tempfile::tempdir().expect("a folder");
            let into = within.path().join("a").join("b");
            fs::create_dir_all(&into).expect("makes");
            let answer = open(&sealed[..], &[identity(1)], &into);
            assert!(matches!(answer, Err(OpenError::Unfit(_))), "{name}: {answer:?}");
            let outside = [within.path().join("escaped"), within.path().join("a/escaped")];
            assert!(outside.iter().all(|path| !path.exists()), "{name}");
            let names = fs::read_dir(&into).expect("reads").flatten().map(|entry| entry.file_name());
            assert!(names.map(|name| name.to_string_lossy().parse::<Sha256>()).all(|name| name.is_ok()), "{name}");
        }
    }

    /// What a wallet's key is can't change without all that is encrypted to it being lost.
    #[test]
    fn the_key_of_a_wallet_is_what_it_was() {
        let identity = Identity::of_wallet(&SIGNATURE);
        // By another program's HKDF, X25519 and Bech32.
        assert_eq!(identity.recipient().to_string(), "age1z5tap8um3dxrsz4prsye0ng60yqjnp2z9v965p0p36tde5mgge4qz4nzr2");
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.recipient()));
    }

    #[test]
    fn a_file_of_identities_is_read_as_age_writes_it() {
        let key = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let text = format!("# created: 2026-11-23T06:00:00Z\n\n{key}\r\n");
        let [identity] = &Identity::of_file(&text).expect("one")[..] else { panic!("one") };
        let recipient = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        assert_eq!(identity.recipient().to_string(), recipient);
        let error = Identity::of_file(&format!("{text}nonsense")).expect_err("line 4");
        assert!(error.to_string().contains("line 4"), "{error}");
    }

    #[test]
    fn a_recipient_is_written_in_one_way_and_makes_a_secret() {
        let good = identity(3).recipient().to_string();
        assert_eq!(good.parse::<Recipient>().expect("ours").to_string(), good);
        let json = serde_json::to_string(&identity(3).recipient()).expect("a text");
        assert_eq!(serde_json::from_str::<Recipient>(&json).expect("ours"), identity(3).recipient());
        for wrong in
            ["", "age1", "bob", &good.to_uppercase(), &good[1..], &good.replace("age1", "age2"), &format!("{good} ")]
        {
            let error = wrong.parse::<Recipient>().expect_err(wrong);
            assert!(error.to_string().contains("berth wallet recipient"), "{error}");
        }
        // Points of low order: whoever encrypts to one shares its secret with everybody.
        let one = [&[1][..], &[0; 31]].concat();
        let minus_one = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
        for point in [vec![0; 32], one, minus_one] {
            let text = bech32::encode("age", point.to_base32(), bech32::Variant::Bech32).expect("encodes");
            assert!(text.parse::<x25519::Recipient>().is_ok(), "age takes {text}");
            text.parse::<Recipient>().expect_err(&text);
        }
    }
}
