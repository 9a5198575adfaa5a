//! Sessions of a key: which are *open*, as decisions that they won are kept and none of them is
//! settled by an end, and which have *ended*. An end is kept as long as a decision of the session is, and of
//! the others of a key the newest few, so that neither list grows with time.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use crate::ids::{ClientRef, Lsn, PublicKey, Session};
use crate::limits::ENDED_SESSIONS_PER_CLIENT_MAX;

/// What is kept of the sessions of all keys.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Sessions that have ended, and the record that says so.
    ended: BTreeMap<ClientRef, Lsn>,
    /// Of these, those that won nothing that is kept, in the order of their records.
    idle: BTreeMap<PublicKey, BTreeSet<(Lsn, Session)>>,
    /// Sessions that won something that is kept, and have not ended.
    open: BTreeMap<PublicKey, BTreeSet<Session>>,
}

impl Ends {
    /// A decision that this session won is kept.
    pub(super) fn on_kept(&mut self, winner: ClientRef) {
        match self.ended.get(&winner) {
            Some(lsn) => take_out(&mut self.idle, &winner.key, &(*lsn, winner.session)),
            None => put_in(&mut self.open, winner.key, winner.session),
        }
    }

    /// No decision that this session won is kept any more; the records that are of no use now.
    pub(super) fn on_last_forgotten(&mut self, winner: ClientRef) -> Option<Lsn> {
        take_out(&mut self.open, &winner.key, &winner.session);
        let lsn = *self.ended.get(&winner)?;
        self.rest(winner, lsn)
    }

    /// A session ends; the record that is of no use now.
    fn end(&mut self, lsn: Lsn, session: ClientRef, has_won: bool) -> Option<Lsn> {
        if self.ended.contains_key(&session) {
            return Some(lsn);
        }
        self.ended.insert(session, lsn);
        take_out(&mut self.open, &session.key, &session.session);
        match has_won {
            true => None,
            false => self.rest(session, lsn),
        }
    }

    /// Of the ends that only keep Takes from being voted for, the oldest makes room.
    fn rest(&mut self, session: ClientRef, lsn: Lsn) -> Option<Lsn> {
        put_in(&mut self.idle, session.key, (lsn, session.session));
        let idle = self.idle.get_mut(&session.key)?;
        if idle.len() <= ENDED_SESSIONS_PER_CLIENT_MAX {
            return None;
        }
        let (lsn, oldest) = idle.pop_first()?;
        self.ended.remove(&ClientRef {
            key: session.key,
            session: oldest,
        });
        Some(lsn)
    }
}

impl Store {
    /// Applies the end of a session.
    pub(super) fn end_session(&mut self, lsn: Lsn, session: ClientRef) {
        let has_won = self.removed.has_won(&session);
        let obsolete = self.ends.end(lsn, session, has_won);
        self.discard(obsolete.into_iter().collect());
    }

    /// True if the session is known to have ended.
    pub(in crate::replica) fn has_ended(&self, session: &ClientRef) -> bool {
        self.ends.ended.contains_key(session)
    }

    /// How many sessions of this key are open.
    pub(in crate::replica) fn open_sessions(&self, key: &PublicKey) -> usize {
        self.ends.open.get(key).map_or(0, BTreeSet::len)
    }

    /// The open sessions of this key, the oldest first.
    pub(in crate::replica) fn open_sessions_of(
        &self,
        key: PublicKey,
    ) -> impl Iterator<Item = ClientRef> {
        let open = self.ends.open.get(&key).into_iter().flatten();
        open.map(move |session| ClientRef {
            key,
            session: *session,
        })
    }
}

fn put_in<T: Ord>(sets: &mut BTreeMap<PublicKey, BTreeSet<T>>, key: PublicKey, item: T) {
    sets.entry(key).or_default().insert(item);
}

fn take_out<T: Ord>(sets: &mut BTreeMap<PublicKey, BTreeSet<T>>, key: &PublicKey, item: &T) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
