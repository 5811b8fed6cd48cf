//! A real S3 server on this machine (SeaweedFS, which `scripts/setup.sh test` installs), on ports that nobody else is given.

use super::settings::{Results, S3, S3Key, StoreKind};
use berth_chain::port;
use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Ports of master, volume server, filer and S3, each with one for its own kind of calls.
const PORTS: usize = 8;
/// How long it may take to start: some seconds, on a busy machine more.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const BUCKET: &str = "harbour";
pub(crate) const KEY: &str = "berth";
pub(crate) const SECRET: &str = "hush-7f3a";

pub(crate) struct Seaweed {
    child: Option<Child>,
    folder: TempDir,
    ports: Vec<u16>,
}

fn program() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|folder| folder.join(".tools/seaweedfs/bin/weed")).find(|path| path.is_file());
    found.expect("SeaweedFS is not installed: run scripts/setup.sh test")
}

fn client() -> io::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(PATIENCE).build().map_err(io::Error::other)
}

impl Seaweed {
    /// Starts one, with an empty bucket.
    pub(crate) async fn start() -> io::Result<Self> {
        let mut server = Self { child: None, folder: tempfile::tempdir()?, ports: port::free(PORTS)? };
        let identities = serde_json::json!({ "identities": [{
            "name": KEY,
            "credentials": [{ "accessKey": KEY, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        std::fs::write(server.folder.path().join("s3.json"), identities.to_string())?;
        server.again().await?;
        // A bucket is a folder of the filer's.
        let url = format!("http://127.0.0.1:{}/buckets/{BUCKET}/", server.ports[4]);
        let made = client()?.post(url).send().await.map_err(io::Error::other)?;
        if made.status().is_success() { Ok(server) } else { Err(io::Error::other(format!("no bucket: {made:?}"))) }
    }

    /// Kills it, as a loss of power would.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it, where it was; returns once it serves.
    pub(crate) async fn again(&mut self) -> io::Result<()> {
        let folder = self.folder.path();
        let log = std::fs::File::create(folder.join("log"))?;
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let [master, master_calls, volume, volume_calls, filer, filer_calls, s3, s3_calls] = self.ports[..] else {
            return Err(io::Error::other("too few ports"));
        };
        let child = Command::new(program())
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-volume.max=20"])
            .args(["-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-s3.autoCreateBucket=false"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.electionTimeout=1s"])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", folder.join("s3.json").display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={master_calls}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={volume_calls}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={filer_calls}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.port.grpc={s3_calls}"))
            .arg(format!("-filer.localSocket={}", folder.join("filer.sock").display()))
            .arg(format!("-s3.localSocket={}", folder.join("s3.sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let client = client()?;
        // It is there for S3 before it knows where its bytes are: so it is asked to keep some.
        let kept = format!("http://127.0.0.1:{filer}/kept");
        let begun = Instant::now();
        loop {
            let serves = client.get(format!("{}/healthz", self.endpoint())).send().await;
            let keeps = client.put(&kept).body("bytes").send().await;
            if [serves, keeps].into_iter().all(|said| said.is_ok_and(|said| said.status().is_success())) {
                return Ok(());
            }
            let has_ended = self.child.as_mut().map_or(Ok(None), Child::try_wait)?.is_some();
            if has_ended || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.path().join("log"))?;
                return Err(io::Error::other(format!("SeaweedFS does not start:\n{log}")));
            }
            // It says on no socket of ours when it is there.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[6])
    }

    /// The configuration of a scheduler that keeps its results here.
    pub(crate) fn results(&self) -> Results {
        let s3 = S3 {
            endpoint: self.endpoint(),
            bucket: BUCKET.to_owned(),
            region: None,
            prefix: String::new(),
            credentials: None,
            key: Some(S3Key::new(KEY.to_owned(), SECRET.to_owned())),
        };
        Results { store: StoreKind::S3, s3: Some(s3), ..Results::default() }
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
