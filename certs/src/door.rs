//! How many strangers may be at the door: connections whose handshake is not over.
//!
//! Anybody can start a handshake and let it lie. So there is a total, a share of it per host (of
//! IPv6 the /64 network), and beyond a quiet level one must first show that packets reach the
//! address one claims. Who finds no room is not told; its QUIC repeats the first packet by itself.
//! Who has proved a key stands there under that key and no longer in the way of strangers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most handshakes under way.
const HANDSHAKES_MAX: usize = 256;
/// Most of them from one host.
const HANDSHAKES_PER_HOST_MAX: usize = 64;
/// Most connections of one member that have not greeted yet.
const GREETINGS_PER_MEMBER_MAX: usize = 64;
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

/// A handshake under way, or a greeting.
#[derive(Debug)]
pub(crate) struct Place {
    door: Door,
    guest: Guest,
}

/// On whose account a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guest {
    Host(IpAddr),
    Member([u8; 32]),
}

#[derive(Debug, Default)]
struct Counts {
    strangers: usize,
    by_guest: HashMap<Guest, usize>,
}

impl Door {
    /// Decides about an attempt from `address`; `validated`: packets are known to reach it.
    pub(crate) fn admit(&self, address: IpAddr, validated: bool) -> Admission {
        let mut counts = self.counts();
        if !validated && counts.strangers >= HANDSHAKES_QUIET_MAX {
            return Admission::Validate;
        }
        if counts.strangers >= HANDSHAKES_MAX {
            return Admission::Ignore;
        }
        match self.place(
            &mut counts,
            Guest::Host(host_of(address)),
            HANDSHAKES_PER_HOST_MAX,
        ) {
            Some(place) => Admission::Enter(place),
            None => Admission::Ignore,
        }
    }

    fn place(&self, counts: &mut Counts, guest: Guest, guest_max: usize) -> Option<Place> {
        let of_guest = counts.by_guest.entry(guest).or_default();
        if *of_guest >= guest_max {
            return None;
        }
        *of_guest += 1;
        if matches!(guest, Guest::Host(_)) {
            counts.strangers += 1;
        }
        Some(Place {
            door: self.clone(),
            guest,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The stranger has proved the key of a member, and leaves the strangers. `None` if that member
    /// has too many places already.
    pub(crate) fn proved(self, key: [u8; 32]) -> Option<Self> {
        let mut counts = self.door.counts();
        self.door
            .place(&mut counts, Guest::Member(key), GREETINGS_PER_MEMBER_MAX)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.door.counts();
        if matches!(self.guest, Guest::Host(_)) {
            counts.strangers = counts.strangers.saturating_sub(1);
        }
        if let Some(of_guest) = counts.by_guest.get_mut(&self.guest) {
            *of_guest = of_guest.saturating_sub(1);
            if *of_guest == 0 {
                counts.by_guest.remove(&self.guest);
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
        assert_eq!(door.counts().strangers, 0);
        assert!(door.counts().by_guest.is_empty());
    }

    #[test]
    fn door_member_that_does_not_greet_is_in_nobody_elses_way() {
        let door = Door::default();
        let mut held = Vec::new();
        let enter = |host: u8| match door.admit(IpAddr::from([10, 0, 0, host]), true) {
            Admission::Enter(place) => place,
            other => panic!("{other:?}"),
        };
        while let Some(place) = enter(1).proved([7; 32]) {
            held.push(place);
        }
        assert_eq!(held.len(), GREETINGS_PER_MEMBER_MAX);
        assert_eq!(door.counts().strangers, 0);
        assert!(enter(1).proved([8; 32]).is_some());
        held.pop();
        assert!(enter(1).proved([7; 32]).is_some());
    }
}
