//! The job document (ADR 0001, section 5): what a requester wants run, once a task.

use crate::{
    address::{self, AddressError},
    canonical, name,
    sealed::Recipient,
    units::{OciDigest, Sha256},
};
use alloy::primitives::B256;
use berth_protocol::JobHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// What to run, on what, within which limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Always 1.
    pub version: u32,
    /// Under a shared app: the container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The command line after the image's entry point; `{}` stands for the task's element of `each`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files for the input folder, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Data that stay where they are: the job runs only where these are, and finds them, read-only, beside its inputs.
    /// Sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<Dataset>,
    /// Software that has to be there, by name ([`crate::name`]), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The input that becomes standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// What the job may use.
    pub limits: Limits,
    /// Paths of the output folder that make the digest; empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// A bag: one element a task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<String>,
    /// Who alone can open the result: it leaves its worker sealed ([`crate::sealed`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
}

impl Default for Job {
    /// One that does what its image does by itself, within the usual limits.
    fn default() -> Self {
        Self {
            version: 1,
            image: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            inputs: Vec::new(),
            datasets: Vec::new(),
            packages: Vec::new(),
            stdin: None,
            limits: Limits::default(),
            outputs: Vec::new(),
            each: Vec::new(),
            recipient: None,
        }
    }
}

/// A container image, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// What a person calls it. Nothing is looked up by it.
    pub reference: String,
    /// The digest of its configuration: the id in a local engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<OciDigest>,
    /// The digest of its manifest: what a registry knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<OciDigest>,
}

impl Image {
    /// The registry that its reference names, as `host` or `host:port`; `None`: Docker's own.
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.reference.split_once('/')?;
        // As Docker tells a host from a folder.
        let is_host = first == "localhost" || first.contains(|c: char| c == '.' || c == ':' || c.is_uppercase());
        is_host.then_some(first)
    }
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name in the input folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256.
    pub sha256: Sha256,
    /// Where it is fetched from ([`crate::address`]), if not from the pool's store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Data that stay on the machines that share them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its name in the input folder.
    pub name: String,
    /// A file's sha256; of a folder, the sha256 of its [`crate::manifest::Manifest`].
    pub sha256: Sha256,
}

/// What a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory, without swap.
    pub memory_bytes: u64,
    /// The output folder.
    pub disk_bytes: u64,
    /// Processes and threads at one time.
    pub pids: u32,
    /// Whether it may use the network (if the worker allows it).
    pub network: bool,
}

impl Limits {
    /// Processes of a job that are not counted, since it has a machine of its own.
    pub const ALL_PIDS: u32 = u16::MAX as u32;
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_millis: 1_000, memory_bytes: 256 << 20, disk_bytes: 64 << 20, pids: 64, network: false }
    }
}

/// Why a job document is refused.
#[derive(Debug, Error)]
pub enum JobError {
    /// Not canonical JSON of a job.
    #[error(transparent)]
    Form(#[from] canonical::NotCanonical),
    /// A version from the future.
    #[error("job version {0}: this program knows version 1")]
    Version(u32),
    /// Names that would leave the input folder, or stand twice, or out of order.
    #[error("input `{0}`: names are single path components, each once, in order")]
    InputName(String),
    /// An address from which nothing is fetched.
    #[error("input `{0}`: `{1}`: {2}")]
    InputUrl(String, String, AddressError),
    /// The same of data; or an input has the name already.
    #[error("dataset `{0}`: names are single path components, each once, in order, and no input's")]
    DatasetName(String),
    /// Packages that are not written as they should be.
    #[error("packages are written in lower case, without blanks, each once, in order")]
    Packages,
    /// Standard input from nowhere.
    #[error("standard input is `{0}`, which is not among the inputs")]
    Stdin(String),
    /// An output path that leaves the output folder.
    #[error("output `{0}`: paths stay within the output folder")]
    OutputPath(String),
    /// An image without digest.
    #[error("image `{0}` has no digest: a job runs exactly one image, named by its digest")]
    ImageDigest(String),
    /// A variable that the system sets, or that no system takes.
    #[error("environment variable `{0}`: names are letters, digits and _, and BERTH_, IEXEC_ and XW are taken")]
    Env(String),
    /// A limit of nothing.
    #[error("limit `{0}` is zero or past 2^53")]
    Limit(&'static str),
}

/// Whether `name` is one plain path component.
pub fn is_component(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\0'])
        && !name.chars().any(char::is_control)
}

impl Job {
    /// The hash that a request order names.
    pub fn hash(&self) -> JobHash {
        JobHash::new(B256::new(canonical::hash(self).0))
    }

    /// Its canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_bytes(self)
    }

    /// Reads and checks a job.
    ///
    /// # Errors
    /// [`JobError`] with what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JobError> {
        let job: Self = canonical::from_bytes(bytes)?;
        job.check()?;
        Ok(job)
    }

    /// Checks what the types don't.
    ///
    /// # Errors
    /// [`JobError`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), JobError> {
        if self.version != 1 {
            return Err(JobError::Version(self.version));
        }
        if let Some(image) = &self.image
            && image.config.is_none()
            && image.manifest.is_none()
        {
            return Err(JobError::ImageDigest(image.reference.clone()));
        }
        let mut last = "";
        for input in &self.inputs {
            if !is_component(&input.name) || input.name.as_str() <= last {
                return Err(JobError::InputName(input.name.clone()));
            }
            if let Some(url) = &input.url {
                address::read(url).map_err(|error| JobError::InputUrl(input.name.clone(), url.clone(), error))?;
            }
            last = &input.name;
        }
        let mut last = "";
        for dataset in &self.datasets {
            let taken = self.inputs.iter().any(|input| input.name == dataset.name);
            if !is_component(&dataset.name) || dataset.name.as_str() <= last || taken {
                return Err(JobError::DatasetName(dataset.name.clone()));
            }
            last = &dataset.name;
        }
        if !name::are_folded(&self.packages) {
            return Err(JobError::Packages);
        }
        if let Some(stdin) = &self.stdin
            && !self.inputs.iter().any(|input| &input.name == stdin)
        {
            return Err(JobError::Stdin(stdin.clone()));
        }
        if let Some(path) = self.outputs.iter().find(|path| !path.split('/').all(is_component)) {
            return Err(JobError::OutputPath(path.clone()));
        }
        let free = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !["BERTH_", "IEXEC_", "XW"].iter().any(|taken| name.starts_with(taken))
        };
        if let Some((name, _)) = self.env.iter().find(|(name, value)| !free(name) || value.contains('\0')) {
            return Err(JobError::Env(name.clone()));
        }
        self.limits.check()
    }
}

impl Limits {
    fn check(&self) -> Result<(), JobError> {
        let exact = 1..(1 << 53);
        for (name, value) in [
            ("cpu_millis", u64::from(self.cpu_millis)),
            ("memory_bytes", self.memory_bytes),
            ("disk_bytes", self.disk_bytes),
            ("pids", u64::from(self.pids)),
        ] {
            if !exact.contains(&value) {
                return Err(JobError::Limit(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let image = Image { reference: "x".into(), config: Some(OciDigest(Sha256([7; 32]))), manifest: None };
        Job {
            image: Some(image),
            args: vec!["--n".into(), "{}".into()],
            env: BTreeMap::from([("B".into(), "2".into()), ("A".into(), "1".into())]),
            inputs: vec![Input { name: "a.txt".into(), size: 3, sha256: Sha256::of(b"abc"), url: None }],
            each: vec!["1".into()],
            ..Job::default()
        }
    }

    #[test]
    fn a_job_is_its_bytes() {
        let bytes = job().to_bytes();
        assert_eq!(Job::from_bytes(&bytes).expect("what we wrote"), job());
        assert!(
            String::from_utf8_lossy(&bytes).starts_with(r#"{"args":["--n","{}"],"each":["1"],"env":{"A":"1","B":"2"}"#)
        );
    }

    #[test]
    fn what_stays_on_machines_is_part_of_a_job_and_absent_where_there_is_none() {
        let dataset = Dataset { name: "genome".into(), sha256: Sha256::of(b"acgt") };
        let with = Job { datasets: vec![dataset], packages: vec!["geant4".into(), "root".into()], ..job() };
        assert_eq!(Job::from_bytes(&with.to_bytes()).expect("what we wrote"), with);
        let text = String::from_utf8(job().to_bytes()).expect("text");
        assert!(!text.contains("packages") && !text.contains("datasets"), "{text}");
    }

    #[test]
    fn a_recipient_is_part_of_a_job_and_no_nonsense_is_one() {
        let recipient = crate::sealed::Identity::of_wallet(&[1; 65]).recipient();
        let with = Job { recipient: Some(recipient.clone()), ..job() };
        let text = String::from_utf8(with.to_bytes()).expect("text");
        assert!(text.ends_with(&format!(r#""recipient":"{recipient}","version":1}}"#)), "{text}");
        assert_eq!(Job::from_bytes(text.as_bytes()).expect("what we wrote"), with);
        assert_ne!(with.hash(), job().hash());
        let wrong = text.replace("age1", "age2");
        let error = Job::from_bytes(wrong.as_bytes()).expect_err("nobody's");
        assert!(matches!(error, JobError::Form(_)));
        let told = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(
            told.contains("berth wallet recipient") || error.to_string().contains("berth wallet recipient"),
            "{told}"
        );
        assert!(!String::from_utf8_lossy(&job().to_bytes()).contains("recipient"), "absent where there is none");
    }

    #[test]
    fn an_images_registry_is_the_host_before_its_first_slash() {
        for (reference, registry) in [
            ("busybox", None),
            ("busybox:1.36", None),
            ("library/busybox:1", None),
            ("localhost/a", Some("localhost")),
            ("LocalHost/a", Some("LocalHost")),
            ("host:5000/a@sha256:00", Some("host:5000")),
            ("10.0.0.1/a/b:1", Some("10.0.0.1")),
            ("[::1]:5000/a", Some("[::1]:5000")),
        ] {
            let image = Image { reference: reference.into(), config: None, manifest: None };
            assert_eq!(image.registry(), registry, "{reference}");
        }
    }

    #[test]
    fn another_form_of_the_same_job_is_refused() {
        let spaced = serde_json::to_vec_pretty(&job()).expect("serialises");
        assert!(matches!(Job::from_bytes(&spaced), Err(JobError::Form(canonical::NotCanonical::Form))));
    }

    #[test]
    fn what_could_escape_or_deceive_is_refused() {
        let with = |change: &dyn Fn(&mut Job)| {
            let mut job = job();
            change(&mut job);
            job.check()
        };
        for name in ["", "..", "a/b", "a\0", "\n"] {
            assert!(matches!(with(&|j| j.inputs[0].name = name.into()), Err(JobError::InputName(_))), "{name:?}");
        }
        for url in ["ftp://a.example/x", "https://me:secret@a.example/x"] {
            let elsewhere = with(&|j| j.inputs[0].url = Some(url.into()));
            assert!(matches!(elsewhere, Err(JobError::InputUrl(..))), "{url:?}");
        }
        for path in ["", "/etc", "a/../b", "a//b"] {
            assert!(matches!(with(&|j| j.outputs = vec![path.into()]), Err(JobError::OutputPath(_))), "{path:?}");
        }
        for env in ["", "1A", "A=B", "BERTH_TASK_ID", "IEXEC_OUT", "XWJOBUID"] {
            let set = |j: &mut Job| drop(j.env.insert(env.into(), String::new()));
            assert!(matches!(with(&set), Err(JobError::Env(_))), "{env:?}");
        }
        assert!(matches!(with(&|j| j.stdin = Some("b".into())), Err(JobError::Stdin(_))));
        for name in ["", "..", "a/b", "a.txt"] {
            let dataset = Dataset { name: name.into(), sha256: Sha256::of(b"d") };
            assert!(matches!(with(&|j| j.datasets = vec![dataset.clone()]), Err(JobError::DatasetName(_))), "{name:?}");
        }
        for packages in [["Root"], ["ro ot"], [""]] {
            let packages = packages.map(str::to_owned).to_vec();
            assert!(matches!(with(&|j| j.packages = packages.clone()), Err(JobError::Packages)), "{packages:?}");
        }
        assert!(matches!(with(&|j| j.limits.pids = 0), Err(JobError::Limit("pids"))));
        let bare = |j: &mut Job| j.image = Some(Image { reference: "x".into(), config: None, manifest: None });
        assert!(matches!(with(&bare), Err(JobError::ImageDigest(_))));
    }
}
