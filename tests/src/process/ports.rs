//! Free UDP ports on loopback.

use std::net::{SocketAddr, UdpSocket};

/// Below the range from which systems give ports to sockets that do not care, so that no client
/// takes a port between its choice here and the start of its replica.
const FIRST: u16 = 12_000;
const LAST: u16 = 31_000;

/// So many different addresses on which nobody listens.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let port = rand::random_range(FIRST..=LAST);
        if let Ok(socket) = UdpSocket::bind(("127.0.0.1", port)) {
            held.push(socket);
        }
    }
    let address = |socket: &UdpSocket| socket.local_addr().expect("a bound socket has an address");
    held.iter().map(address).collect()
}
