//! Ports of this machine, for what is started again at the same one.

use rand::Rng as _;
use std::{fs, io, net::TcpListener};

/// Ports below this are for services that everybody knows.
const FIRST: u16 = 10_000;
/// So many ports are tried before any will do.
const TRIES: usize = 64;

/// Ports that are free now, and that the system gives to nobody by itself, neither for a connection nor to who asks for any:
/// a service that was killed finds its own still free. No two are the same.
///
/// # Errors
/// No port is free.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    // What the system gives begins here.
    let given = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given = given.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(FIRST);
    let one = || {
        let quiet = (0..TRIES).filter(|_| FIRST < given).find_map(|_| {
            let port: u16 = rand::thread_rng().gen_range(FIRST..given);
            TcpListener::bind(("127.0.0.1", port)).ok()
        });
        quiet.map_or_else(|| TcpListener::bind(("127.0.0.1", 0)), Ok)
    };
    // Held until all are chosen.
    let held = (0..count).map(|_| one()).collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|listener| listener.local_addr().map(|address| address.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_free_and_no_two_the_same() {
        let ports = free(20).expect("this machine has some");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        assert!(ports.iter().all(|port| *port >= FIRST));
    }
}
