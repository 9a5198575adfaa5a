//! How many strangers may be at the door: connections whose handshake is not over.
//!
//! Anybody can start a handshake and let it lie. So there is a total, a share of it per host (of
//! IPv6 the /64 network), and beyond a quiet level one must first show that packets reach the
//! address one claims. Who finds no room is not told; its QUIC repeats the first packet by itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most handshakes under way.
const HANDSHAKES_MAX: usize = 256;
/// Most of them from one host.
const HANDSHAKES_PER_HOST_MAX: usize = 64;
/// From so many on, an address must be validated first.
const HANDSHAKES_QUIET_MAX: usize = 32;

/// The count of handshakes under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    counts: Arc<Mutex<Counts>>,
}

/// What to do with a connection attempt.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Go on; the place is free again when this is dropped.
    Enter(Place),
    /// Ask for a proof of the address.
    Validate,
    /// Drop it silently.
    Ignore,
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Place {
    door: Door,
    host: IpAddr,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_host: HashMap<IpAddr, usize>,
}

impl Door {
    /// Decides about an attempt from `address`; `validated`: packets are known to reach it.
    pub(crate) fn admit(&self, address: IpAddr, validated: bool) -> Admission {
        let host = host_of(address);
        let mut counts = self.counts();
        let of_host = counts.by_host.get(&host).copied().unwrap_or(0);
        if !validated && counts.total >= HANDSHAKES_QUIET_MAX {
            return Admission::Validate;
        }
        if counts.total >= HANDSHAKES_MAX || of_host >= HANDSHAKES_PER_HOST_MAX {
            return Admission::Ignore;
        }
        counts.total += 1;
        counts.by_host.insert(host, of_host + 1);
        Admission::Enter(Place {
            door: self.clone(),
            host,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.door.counts();
        counts.total = counts.total.saturating_sub(1);
        if let Some(of_host) = counts.by_host.get_mut(&self.host) {
            *of_host = of_host.saturating_sub(1);
            if *of_host == 0 {
                counts.by_host.remove(&self.host);
            }
        }
    }
}

fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn door_one_host_cannot_take_all_places() {
        let door = Door::default();
        let stranger = "10.0.0.1".parse().expect("an address");
        let mut held = Vec::new();
        while let Admission::Enter(place) = door.admit(stranger, true) {
            held.push(place);
        }
        assert_eq!(held.len(), HANDSHAKES_PER_HOST_MAX);
        let mapped = "::ffff:10.0.0.1".parse().expect("an address");
        assert!(matches!(door.admit(mapped, true), Admission::Ignore));
        let other = "10.0.0.2".parse().expect("an address");
        assert!(matches!(door.admit(other, true), Admission::Enter(_)));
    }

    #[test]
    fn door_one_ipv6_network_counts_as_one_host() {
        let door = Door::default();
        let address = |i: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, i]);
        let held: Vec<_> = (0..200).map(|i| door.admit(address(i), true)).collect();
        let entered = held
            .iter()
            .filter(|a| matches!(a, Admission::Enter(_)))
            .count();
        assert_eq!(entered, HANDSHAKES_PER_HOST_MAX);
    }

    #[test]
    fn door_crowd_must_validate_and_places_are_given_back() {
        let door = Door::default();
        let address = |i: u8| IpAddr::from([10, 0, 1, i]);
        let mut held: Vec<_> = (0..=255)
            .map(|i| door.admit(address(i), usize::from(i) >= HANDSHAKES_QUIET_MAX))
            .collect();
        assert!(held.iter().all(|a| matches!(a, Admission::Enter(_))));
        assert!(matches!(door.admit(address(0), false), Admission::Validate));
        assert!(matches!(door.admit(address(0), true), Admission::Ignore));
        held.pop();
        assert!(matches!(door.admit(address(0), true), Admission::Enter(_)));
        held.clear();
        assert_eq!(door.counts().total, 0);
        assert!(door.counts().by_host.is_empty());
    }
}
