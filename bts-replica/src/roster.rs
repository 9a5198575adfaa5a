//! Who is connected, counted so that nobody takes the places of the others.
//!
//! A connection holds a place from its acceptance on: first one among those that have not said
//! Hello, bounded in all and per key; then, for a client, one of its session. Places are given back
//! when their guard is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bts_certs::Closer;
use bts_core::ids::{ClientRef, PublicKey, ReplicaId, Session};

use crate::settings::ConnectionLimits;

/// Connections that have not said Hello.
const GREETING_MAX: usize = 512;
/// Those of one key.
const GREETING_PER_KEY_MAX: usize = 32;
/// Connections of one session at once: a client that reconnects may not know yet that the old
/// connection is dead.
const CONNECTIONS_PER_SESSION_MAX: usize = 4;

/// The counts.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    limits: ConnectionLimits,
    counts: Arc<Mutex<Counts>>,
}

/// Why there is no place, in words for who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("too many connections say no Hello; try again later")]
    Greeting,
    #[error("too many connections of your key say no Hello")]
    GreetingOfKey,
    #[error("{0} client sessions are connected, no more are admitted; try again later")]
    Sessions(usize),
    #[error("{0} sessions of your key are connected, no more are admitted")]
    SessionsOfKey(usize),
    #[error("too many connections of one session")]
    Connections,
}

/// A place among those that have not said Hello.
#[derive(Debug)]
pub(crate) struct Greeting {
    roster: Roster,
    key: PublicKey,
}

/// A place of a session.
#[derive(Debug)]
pub(crate) struct Place {
    roster: Roster,
    client: ClientRef,
}

#[derive(Debug, Default)]
struct Counts {
    greeting: BTreeMap<PublicKey, usize>,
    sessions: BTreeMap<PublicKey, BTreeMap<Session, usize>>,
    /// The connection on which each peer speaks.
    peers: BTreeMap<ReplicaId, Closer>,
}

impl Roster {
    /// An empty one.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            counts: Arc::default(),
        }
    }

    /// A place for a connection of this key until it has said Hello.
    pub(crate) fn greet(&self, key: PublicKey) -> Result<Greeting, NoPlace> {
        let mut counts = self.counts();
        if counts.greeting.values().sum::<usize>() >= GREETING_MAX {
            return Err(NoPlace::Greeting);
        }
        let of_key = counts.greeting.entry(key).or_default();
        if *of_key >= GREETING_PER_KEY_MAX {
            return Err(NoPlace::GreetingOfKey);
        }
        *of_key += 1;
        Ok(Greeting {
            roster: self.clone(),
            key,
        })
    }

    /// A place for one more connection of a session.
    pub(crate) fn enter(&self, client: ClientRef) -> Result<Place, NoPlace> {
        let mut counts = self.counts();
        let total: usize = counts.sessions.values().map(BTreeMap::len).sum();
        let of_key = counts.sessions.get(&client.key);
        let connections = of_key.and_then(|sessions| sessions.get(&client.session));
        match connections {
            Some(connections) if *connections >= CONNECTIONS_PER_SESSION_MAX => {
                return Err(NoPlace::Connections);
            }
            Some(_) => {}
            None if total >= self.limits.sessions => return Err(NoPlace::Sessions(total)),
            None => {
                let of_key = of_key.map_or(0, BTreeMap::len);
                if of_key >= self.limits.sessions_per_client {
                    return Err(NoPlace::SessionsOfKey(of_key));
                }
            }
        }
        let sessions = counts.sessions.entry(client.key).or_default();
        *sessions.entry(client.session).or_default() += 1;
        Ok(Place {
            roster: self.clone(),
            client,
        })
    }

    /// The connection on which the peer speaks from now on; the one before is closed.
    pub(crate) fn hear(&self, peer: ReplicaId, closer: Closer) {
        if let Some(before) = self.counts().peers.insert(peer, closer) {
            before.close("you speak on a newer connection");
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut counts = self.roster.counts();
        give_back(&mut counts.greeting, self.key);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ClientRef { key, session } = self.client;
        let mut counts = self.roster.counts();
        let Some(sessions) = counts.sessions.get_mut(&key) else {
            return;
        };
        give_back(sessions, session);
        if sessions.is_empty() {
            counts.sessions.remove(&key);
        }
    }
}

fn give_back<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) | None => drop(counts.remove(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roster_places_before_hello_are_bounded_in_all_and_per_key() {
        let roster = Roster::new(ConnectionLimits::default());
        let mut held = Vec::new();
        for seed in 0..=u8::MAX {
            while let Ok(place) = roster.greet(key(seed)) {
                held.push(place);
            }
        }
        assert_eq!(held.len(), GREETING_MAX);
        assert_eq!(roster.counts().greeting[&key(0)], GREETING_PER_KEY_MAX);
        assert!(matches!(roster.greet(key(0)), Err(NoPlace::Greeting)));
        held.pop();
        assert!(matches!(roster.greet(key(0)), Err(NoPlace::GreetingOfKey)));
        assert!(roster.greet(key(99)).is_ok());
        held.clear();
        assert!(roster.counts().greeting.is_empty());
    }

    #[test]
    fn roster_sessions_are_bounded_but_a_known_one_may_reconnect() {
        let limits = ConnectionLimits {
            sessions: 3,
            sessions_per_client: 2,
            ..ConnectionLimits::default()
        };
        let roster = Roster::new(limits);
        let first = roster.enter(client(1, 1)).expect("there is room");
        let _second = roster.enter(client(1, 2)).expect("there is room");
        assert_eq!(no_place(&roster, client(1, 3)), NoPlace::SessionsOfKey(2));
        let _third = roster.enter(client(2, 1)).expect("there is room");
        assert_eq!(no_place(&roster, client(3, 1)), NoPlace::Sessions(3));
        let again: Vec<_> = (0..3).map(|_| roster.enter(client(1, 1))).collect();
        assert!(again.iter().all(Result::is_ok));
        assert_eq!(no_place(&roster, client(1, 1)), NoPlace::Connections);
        drop((first, again));
        assert!(roster.enter(client(3, 1)).is_ok());
    }

    fn no_place(roster: &Roster, client: ClientRef) -> NoPlace {
        roster.enter(client).expect_err("there is no place")
    }

    fn client(seed: u8, session: u64) -> ClientRef {
        ClientRef {
            key: key(seed),
            session: Session(session),
        }
    }

    fn key(seed: u8) -> PublicKey {
        PublicKey([seed; 32])
    }
}
