//! A web server of one file, somewhere else than in a pool's store: it knows ranges, notes who asks for what, and may be
//! had to fall silent in the middle.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What it has, and what it was asked for.
#[derive(Debug, Default)]
struct Shelf {
    bytes: Vec<u8>,
    /// What it will have after the next answer.
    next: Option<Vec<u8>>,
    /// Where each answer began.
    asked: Vec<usize>,
}

/// The server.
#[derive(Debug)]
pub struct FileServer {
    /// Where it listens.
    pub address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
    /// How much of the file it sends before it falls silent.
    speaks: watch::Sender<usize>,
    _listens: JoinSet<()>,
}

impl FileServer {
    /// Starts one with this file.
    ///
    /// # Errors
    /// There is no port.
    pub async fn of(bytes: Vec<u8>) -> eyre::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shelf = Arc::new(Mutex::new(Shelf { bytes, ..Shelf::default() }));
        let (speaks, heard) = watch::channel(usize::MAX);
        let (mut listens, kept) = (JoinSet::new(), shelf.clone());
        listens.spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (shelf, heard) = (kept.clone(), heard.clone());
                // A client that goes away in the middle is no concern of the server's.
                answers.spawn(async move { drop(answer(stream, &shelf, heard).await) });
            }
        });
        Ok(Self { address, shelf, speaks, _listens: listens })
    }

    /// The file's address.
    pub fn url(&self) -> String {
        format!("http://{}/file", self.address)
    }

    /// Has it another file after the next answer.
    pub fn change(&self, bytes: Vec<u8>) {
        self.shelf.lock().expect("nothing panics with it").next = Some(bytes);
    }

    /// Has it fall silent after so much of the file, or go on.
    pub fn speak(&self, until: usize) {
        self.speaks.send_replace(until);
    }

    /// Where each answer began, in turn.
    pub fn asked(&self) -> Vec<usize> {
        self.shelf.lock().expect("nothing panics with it").asked.clone()
    }
}

async fn answer(mut stream: TcpStream, shelf: &Mutex<Shelf>, mut heard: watch::Receiver<usize>) -> eyre::Result<()> {
    let (mut request, mut read) = (vec![0; 8_192], 0);
    while !request[..read].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[read..]).await? {
            0 => return Ok(()),
            more => read += more,
        }
    }
    let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
    let from = text.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once('-')?.0.parse().ok()).unwrap_or(0);
    let bytes = {
        let mut shelf = shelf.lock().expect("nothing panics with it");
        shelf.asked.push(from);
        let next = shelf.next.take().unwrap_or_else(|| shelf.bytes.clone());
        std::mem::replace(&mut shelf.bytes, next)
    };
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let mut at = from.min(bytes.len());
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len() - at);
    stream.write_all(head.as_bytes()).await?;
    while at < bytes.len() {
        let until = *heard.wait_for(|until| *until > at).await?;
        let end = until.min(bytes.len());
        stream.write_all(&bytes[at..end]).await?;
        at = end;
    }
    Ok(stream.shutdown().await?)
}
