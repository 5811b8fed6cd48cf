//! A real registry of images, on this machine.

use crate::folder::Folder;
use eyre::{Context as _, ContextCompat as _, eyre};
use std::{
    fs,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

/// It starts within a moment, on a busy machine within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// The registry. It ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens: what images' names begin with.
    pub place: String,
    /// What it was asked for, as its own log has it.
    asked: Arc<Mutex<Vec<String>>>,
    _folder: Folder,
    _process: Child,
    _reads: JoinSet<()>,
}

impl Registry {
    /// Starts an empty one.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start() -> eyre::Result<Self> {
        let folder = Folder::new()?;
        let config = folder.path().join("registry.yml");
        let kept = folder.path().join("kept");
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: info}}\n\
             storage: {{filesystem: {{rootdirectory: {kept:?}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n"
        );
        fs::write(&config, text)?;
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .wrap_err("docker-registry is not installed: scripts/setup.sh test")?;
        let mut said = BufReader::new(process.stderr.take().wrap_err("piped")?).lines();
        let mut answered = BufReader::new(process.stdout.take().wrap_err("piped")?).lines();
        let listens = async {
            while let Some(line) = said.next_line().await? {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let place = rest.split(|c: char| c == '"' || c == ',' || c.is_whitespace()).next();
                    return place.map(str::to_owned).wrap_err("no place");
                }
            }
            Err(eyre!("docker-registry did not start"))
        };
        let place = tokio::time::timeout(PATIENCE, listens).await.wrap_err("docker-registry does not listen")??;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (mut reads, log) = (JoinSet::new(), asked.clone());
        reads.spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        reads.spawn(async move {
            while let Ok(Some(line)) = answered.next_line().await {
                log.lock().expect("nothing panics with it").push(line);
            }
        });
        Ok(Self { place, asked, _folder: folder, _process: process, _reads: reads })
    }

    /// How many answers to questions with these words it has noted.
    pub fn asked(&self, words: &str) -> usize {
        self.asked.lock().expect("nothing panics with it").iter().filter(|line| line.contains(words)).count()
    }
}
