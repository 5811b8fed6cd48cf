//! Which addresses this worker asks where somebody else says where: public ones, and those that its owner opens. An app's
//! owner or a requester would otherwise have it ask whatever only this machine reaches. What counts is the address that is
//! connected to: names are looked up once, and only what is let is handed on; where an answer leads elsewhere, that is
//! looked at in the same way; no proxy of the environment comes between.

use berth_wire::address::{self, AddressError};
use core::{fmt, net::IpAddr, str::FromStr};
use futures_util::future::BoxFuture;
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use thiserror::Error;

/// An answer may lead on so often.
const MOST_HOPS: usize = 5;
/// A server that says nothing for so long is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
pub(crate) const CONNECT_TAKES: Duration = Duration::from_secs(10);

/// A block of addresses: `192.168.7.0/24`, `fd00::/8`, or one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    first: IpAddr,
    bits: u8,
}

/// A text names no block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no block of addresses: write \"192.168.7.0/24\", \"fd00::/8\", or one address")]
pub struct ParseBlockError(String);

/// An address as a number, and of how many bits.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl Block {
    /// Whether an address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let ((first, width), (other, of)) = (number(self.first), number(address));
        let start = |number: u128| number.checked_shr(u32::from(width - self.bits)).unwrap_or(0);
        width == of && start(first) == start(other)
    }
}

impl FromStr for Block {
    type Err = ParseBlockError;

    fn from_str(text: &str) -> Result<Self, ParseBlockError> {
        let wrong = || ParseBlockError(text.to_owned());
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first: IpAddr = first.trim().parse().map_err(|_| wrong())?;
        let width = number(first).1;
        let bits = bits.map_or(Ok(width), |bits| bits.trim().parse().map_err(|_| wrong()))?;
        if bits > width { Err(wrong()) } else { Ok(Self { first, bits }) }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// IPv4 addresses that are nobody's on the open network (IANA's registry of special purposes), multicast and what is
/// reserved.
const NOT_PUBLIC_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];
/// The IPv6 addresses that are given out; whatever else there is (loopback, mapped and translated IPv4, unique local, link
/// local, multicast) is not public.
const GIVEN_OUT_V6: ([u16; 8], u8) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// Of these, what is for special purposes: protocols with Teredo, documentation, 6to4, documentation again.
const NOT_PUBLIC_V6: [([u16; 8], u8); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

fn is_public(address: IpAddr) -> bool {
    let is_in = |first: IpAddr, bits: u8| Block { first, bits }.holds(address);
    match address {
        IpAddr::V4(_) => !NOT_PUBLIC_V4.iter().any(|(first, bits)| is_in((*first).into(), *bits)),
        IpAddr::V6(_) => {
            is_in(GIVEN_OUT_V6.0.into(), GIVEN_OUT_V6.1)
                && !NOT_PUBLIC_V6.iter().any(|(first, bits)| is_in((*first).into(), *bits))
        }
    }
}

/// Where an address leads: an IP address, however it is written, or a name.
fn host(url: &Url) -> Result<IpAddr, String> {
    let host = url.host_str().unwrap_or_default();
    host.trim_matches(['[', ']']).parse().map_err(|_| host.to_owned())
}

/// An address that is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Barred {
    /// Nobody would.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It is not public. (Which address a name has is not told: it would be told to whoever gave the name.)
    #[error("`{0}` is at no public address, and this worker's owner has not opened it (`from` under [fetch])")]
    Inside(String),
    /// It leads elsewhere again and again.
    #[error("it leads elsewhere more than {MOST_HOPS} times")]
    Onward,
}

impl Barred {
    /// What an error of a request hides, if that is why it failed.
    pub(crate) fn behind(error: &reqwest::Error) -> Option<Self> {
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        causes.into_iter().find_map(|cause| cause.downcast_ref::<Self>().cloned())
    }
}

/// How a name is looked up.
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// As the system does it.
fn system(name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

/// Which addresses are asked.
#[derive(Debug, Clone)]
pub struct Reach {
    /// What the owner opens beside public addresses.
    open: Arc<[Block]>,
    lookup: Lookup,
}

impl Reach {
    /// Public addresses, and these.
    pub fn new(open: &[Block]) -> Self {
        Self { open: open.into(), lookup: system }
    }

    fn lets(&self, address: IpAddr) -> bool {
        // An IPv4 address is the same one in IPv6's clothes.
        let address = address.to_canonical();
        self.open.iter().any(|block| block.holds(address)) || is_public(address)
    }

    /// What a name has for addresses that are asked.
    async fn look_up(&self, name: String) -> io::Result<Result<Vec<SocketAddr>, Barred>> {
        let mut found = (self.lookup)(name.clone()).await?;
        found.retain(|address| self.lets(address.ip()));
        Ok(if found.is_empty() { Err(Barred::Inside(name)) } else { Ok(found) })
    }

    /// All that can be said of an address before a name in it is looked up.
    fn check(&self, url: &Url) -> Result<(), Barred> {
        address::check(url)?;
        match host(url) {
            Ok(address) if !self.lets(address) => Err(Barred::Inside(address.to_string())),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Reads an address that somebody else gave.
    ///
    /// # Errors
    /// [`Barred`]: it is not asked. (Of a name this is found out when it is looked up.)
    pub(crate) fn read(&self, text: &str) -> Result<Url, Barred> {
        let url = address::read(text)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Whether a server at this place (`host:port`), which another program of this machine is about to ask, may be asked.
    /// That program looks the name up once more.
    pub(crate) async fn server(&self, place: &str) -> Result<(), Barred> {
        let url = address::read(&format!("http://{place}/"))?;
        self.check(&url)?;
        match host(&url) {
            Ok(_) => Ok(()),
            // A name that can't be looked up leads nowhere.
            Err(name) => self.look_up(name).await.unwrap_or(Ok(Vec::new())).map(drop),
        }
    }

    /// What asks them, and no others.
    pub(crate) fn client(&self) -> Client {
        let hops = self.clone();
        let policy = Policy::custom(move |attempt| {
            if attempt.previous().len() > MOST_HOPS {
                return attempt.error(Barred::Onward);
            }
            match hops.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(barred) => attempt.error(barred),
            }
        });
        Client::builder()
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(Names(self.clone())))
            .redirect(policy)
            .connect_timeout(CONNECT_TAKES)
            .read_timeout(SILENCE)
            .build()
            .expect("a client with the built-in roots always builds")
    }
}

/// Looks names up for a client: what it is given is what it connects to.
struct Names(Reach);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, name) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let addresses: Addrs = Box::new(reach.look_up(name).await??.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
    };

    fn block(text: &str) -> Block {
        text.parse().expect("a block")
    }

    #[test]
    fn only_addresses_that_are_given_out_on_the_open_network_are_public() {
        let reach = Reach::new(&[]);
        for inside in "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.0.1 169.254.0.1 \
                       169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 \
                       192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 \
                       240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 \
                       64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 4000::1 fc00::1 \
                       fd00:ec2::254 fe80::1 fec0::1 ff02::1".split_whitespace() {
            assert!(!reach.lets(inside.parse().expect("an address")), "{inside}");
        }
        for public in
            "1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255 \
                       169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 \
                       198.20.0.1 223.255.255.255 ::ffff:1.1.1.1 2001:200::1 2606:4700::1111 2a00::1 3ffe::1"
                .split_whitespace()
        {
            assert!(reach.lets(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn an_owner_opens_blocks_and_nothing_beside_them() {
        let open = Reach::new(&[block("192.168.7.0/24"), block("127.0.0.2"), block("fd00::/8")]);
        for let_in in ["192.168.7.0", "192.168.7.255", "127.0.0.2", "::ffff:127.0.0.2", "fd12::1", "1.1.1.1"] {
            assert!(open.lets(let_in.parse().expect("an address")), "{let_in}");
        }
        for inside in ["192.168.6.255", "192.168.8.0", "127.0.0.1", "127.0.0.3", "fc00::1", "::1"] {
            assert!(!open.lets(inside.parse().expect("an address")), "{inside}");
        }
        assert!(Reach::new(&[block("0.0.0.0/0")]).lets("10.0.0.1".parse().expect("an address")));
        assert!(!Reach::new(&[block("0.0.0.0/0")]).lets("::1".parse().expect("an address")));
        assert!(Reach::new(&[block("::/0")]).lets("::1".parse().expect("an address")));
        for text in ["", "x", "127.0.0.1/33", "::/129", "127.0.0.1/", "127.0.0/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Block>().is_err(), "{text:?}");
        }
        assert_eq!(block(&block("fd00::/8").to_string()), block("fd00::/8"));
    }

    #[test]
    fn an_address_is_barred_however_it_is_written() {
        let reach = Reach::new(&[]);
        for text in "http://127.0.0.1/x http://127.1/x http://2130706433/x http://0x7f.1/x http://0177.0.0.1/x \
                       http://[::1]/x http://[::ffff:127.0.0.1]/x http://[::ffff:7f00:1]/x https://169.254.169.254/x"
            .split_whitespace()
        {
            assert!(matches!(reach.read(text), Err(Barred::Inside(_))), "{text}: {:?}", reach.read(text));
        }
        for text in ["ftp://a.example/x", "https://me:secret@a.example/x"] {
            assert!(matches!(reach.read(text), Err(Barred::Address(_))), "{text}");
        }
    }

    /// A server that counts who connects, and answers each with the same words.
    fn server(listener: TcpListener, answer: String) -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
        let (address, count) = (listener.local_addr().expect("it listens"), Arc::new(AtomicUsize::new(0)));
        let (counted, mut tasks) = (count.clone(), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (mut request, mut read) = (vec![0; 4_096], 0);
                while !request[..read].ends_with(b"\r\n\r\n") {
                    read += stream.read(&mut request[read..]).await.expect("a request");
                }
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        (address, count, tasks)
    }

    async fn listener(at: &str) -> TcpListener {
        TcpListener::bind(at).await.expect("a port")
    }

    /// The same port of 127.0.0.1 and of 127.0.0.2.
    async fn twins() -> (TcpListener, TcpListener) {
        loop {
            let inside = listener("127.0.0.1:0").await;
            let port = inside.local_addr().expect("it listens").port();
            if let Ok(outside) = TcpListener::bind(("127.0.0.2", port)).await {
                return (inside, outside);
            }
        }
    }

    fn says(words: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}", words.len())
    }

    /// 127.0.0.2 stands for a public server in these tests; 127.0.0.1 is what must not be asked.
    fn open() -> Vec<Block> {
        vec![block("127.0.0.2")]
    }

    async fn barred(reach: &Reach, url: &str) -> Option<Barred> {
        match reach.client().get(url).send().await {
            Ok(_) => None,
            Err(error) => Some(Barred::behind(&error).unwrap_or_else(|| panic!("{error:?}"))),
        }
    }

    #[tokio::test]
    async fn what_is_inside_is_never_connected_to_neither_by_name_nor_by_an_answer_that_leads_there() {
        let (inside, asked, _kept) = server(listener("127.0.0.1:0").await, says("secret"));
        let port = inside.port();
        let reach = Reach::new(&open());
        // By a name, as the system looks it up.
        assert_eq!(
            barred(&reach, &format!("http://localhost:{port}/")).await,
            Some(Barred::Inside("localhost".into()))
        );
        for way_in in [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/")] {
            let leads =
                format!("HTTP/1.1 302 Found\r\nlocation: {way_in}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let (outside, begun, _kept) = server(listener("127.0.0.2:0").await, leads);
            let why = barred(&reach, &format!("http://{outside}/")).await;
            assert!(matches!(why, Some(Barred::Inside(_))), "{why:?}");
            assert_eq!(begun.load(Ordering::SeqCst), 1);
        }
        let round =
            "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        let (outside, _, _kept) = server(listener("127.0.0.2:0").await, round);
        assert_eq!(barred(&reach, &format!("http://{outside}/")).await, Some(Barred::Onward));
        assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody came in");
    }

    #[tokio::test]
    async fn a_name_that_moves_inside_between_two_requests_is_not_followed() {
        static LOOKED: AtomicUsize = AtomicUsize::new(0);
        /// First outside, then inside, then at both.
        fn moving(_: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let [inside, outside] = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().expect("an address"));
            let found = match LOOKED.fetch_add(1, Ordering::SeqCst) {
                0 => vec![outside],
                1 => vec![inside],
                _ => vec![inside, outside],
            };
            Box::pin(async { Ok(found) })
        }
        let (inside, outside) = twins().await;
        let (_, asked, _kept_inside) = server(inside, says("secret"));
        let (outside, served, _kept_outside) = server(outside, says("public"));
        let reach = Reach { lookup: moving, ..Reach::new(&open()) };
        let (client, url) = (reach.client(), format!("http://moving.example:{}/", outside.port()));
        let first = client.get(&url).send().await.expect("it is outside").text().await.expect("words");
        assert_eq!((first.as_str(), LOOKED.load(Ordering::SeqCst)), ("public", 1), "looked up once, and asked there");
        let second = client.get(&url).send().await.expect_err("it is inside now");
        assert_eq!(Barred::behind(&second), Some(Barred::Inside("moving.example".into())));
        let third =
            client.get(&url).send().await.expect("one of its addresses is outside").text().await.expect("words");
        assert_eq!((third.as_str(), LOOKED.load(Ordering::SeqCst)), ("public", 3));
        assert_eq!((served.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (2, 0));
    }

    #[tokio::test]
    async fn a_registry_inside_is_told_from_one_outside() {
        let reach = Reach::new(&open());
        for host in ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", "10.0.0.1"] {
            assert!(matches!(reach.server(host).await, Err(Barred::Inside(_))), "{host}");
        }
        assert_eq!(reach.server("127.0.0.2:5000").await, Ok(()));
    }
}
