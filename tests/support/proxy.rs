//! A network that can be cut: a TCP proxy between two of our programs.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The proxy. It ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, and hands on to `target`.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(target: SocketAddr) -> eyre::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (whole, seen) = watch::channel(true);
        #[expect(clippy::disallowed_methods, reason = "aborted when the proxy is dropped")]
        let task = tokio::spawn(serve(listener, target, seen));
        Ok(Self { address, whole, task })
    }

    /// Cuts every connection, and lets no other through.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            changed = whole.changed() => match changed {
                Err(_) => return,
                // Dropping both ends of a connection cuts it.
                Ok(()) if !*whole.borrow_and_update() => connections.shutdown().await,
                Ok(()) => {}
            },
            accepted = listener.accept() => {
                let Ok((mut near, _)) = accepted else { continue };
                if *whole.borrow() {
                    connections.spawn(async move {
                        if let Ok(mut far) = TcpStream::connect(target).await {
                            // A broken connection is what this is for.
                            drop(copy_bidirectional(&mut near, &mut far).await);
                        }
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_cut_network_ends_connections_and_a_mended_one_takes_new_ones() -> eyre::Result<()> {
        let far = TcpListener::bind(("127.0.0.1", 0)).await?;
        let proxy = Proxy::to(far.local_addr()?).await?;
        let mut near = TcpStream::connect(proxy.address).await?;
        let (mut there, _) = far.accept().await?;
        near.write_all(b"ahoy").await?;
        let mut heard = [0; 4];
        there.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"ahoy");

        proxy.cut();
        assert_eq!(near.read(&mut heard).await.unwrap_or(0), 0, "the connection goes on");
        let mut refused = TcpStream::connect(proxy.address).await?;
        assert_eq!(refused.read(&mut heard).await.unwrap_or(0), 0, "a cut network lets a connection through");

        proxy.mend();
        let mut again = TcpStream::connect(proxy.address).await?;
        let (mut there, _) = far.accept().await?;
        again.write_all(b"back").await?;
        there.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"back");
        Ok(())
    }
}
