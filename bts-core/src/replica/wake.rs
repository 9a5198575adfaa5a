//! Who is told when an entry arrives, goes live or is released:
//! watches break, every matching `rd` is told, and of the `in`s one after the other, doubling.

use std::collections::BTreeSet;

use super::on_timer::Timer;
use super::sessions::{WaiterKey, telling_order};
use super::{Outputs, Replica};
use crate::content::HeldContent;
use crate::ids::EntryId;
use crate::message::ReplyBody;
use crate::time::Time;

/// The telling of blocked `in`s about one entry.
#[derive(Debug, Default)]
pub(super) struct Hint {
    steps: u32,
    told: BTreeSet<WaiterKey>,
    pub(super) next_at: Time,
}

impl Replica {
    /// A content became present.
    pub(super) fn wake(&mut self, content: &HeldContent, out: &mut Outputs) {
        self.wake_for(&content.id, std::slice::from_ref(content), out);
    }

    /// An entry is free again. A `rd` hears of the one of its contents that has the least hash, which is
    /// the same everywhere; of the others it heard when they arrived. Who signs many contents for one id
    /// does not get many messages for one release.
    pub(super) fn wake_again(&mut self, id: &EntryId, out: &mut Outputs) {
        let mut contents = self.contents_of(id);
        contents.sort_by_key(|content| content.hash);
        self.wake_for(id, &contents, out);
    }

    fn wake_for(&mut self, id: &EntryId, contents: &[HeldContent], out: &mut Outputs) {
        let space = id.space();
        let policy = std::sync::Arc::clone(&self.options.configuration);
        let (mut told, mut takers) = (BTreeSet::new(), false);
        for content in contents {
            let access = content.access.as_ref();
            self.sessions
                .break_watches(space, &content.tuple, |watch| match watch.mode.takes() {
                    true => policy.policy().may_take(&watch.client.key, space, access),
                    false => policy.policy().may_read(&watch.client.key, space, access),
                });
            for key in self.sessions.waiters_for(space, &content.tuple) {
                match self.sessions.waiter(&key).map(|waiter| waiter.mode.takes()) {
                    Some(true) => takers = true,
                    Some(false) if !told.contains(&key) => {
                        if self.push(key, content, out) {
                            told.insert(key);
                        }
                    }
                    Some(false) | None => {}
                }
            }
        }
        if takers {
            self.hints.remove(id);
            self.tell_next(id, out);
        }
    }

    /// Has the entry told to further `in`s at this time, or earlier if it is planned already.
    pub(super) fn hint_at(&mut self, id: &EntryId, at: Time) {
        let new = || Hint {
            next_at: at,
            ..Hint::default()
        };
        let hint = self.hints.get_or_insert_with(id, new);
        self.timers
            .arm(Timer::Hint(id.clone().into()), hint.next_at);
    }

    /// The time of a hint has come: whoever was told has not acted.
    pub(super) fn on_hint_timer(&mut self, id: &EntryId, out: &mut Outputs) {
        let Some(hint) = self.hints.get(id) else {
            return;
        };
        match hint.next_at <= self.now {
            true => self.tell_next(id, out),
            false => self
                .timers
                .arm(Timer::Hint(id.clone().into()), hint.next_at),
        }
    }

    /// Tells one `in`, then 1, 2, 4, ... more. Ends when all were told, or when the entry is
    /// contested: a decision removes it, a release begins anew.
    fn tell_next(&mut self, id: &EntryId, out: &mut Outputs) {
        let mut hint = self.hints.remove(id).unwrap_or_default();
        if self.store.is_contested(id) {
            return;
        }
        let contents = self.contents_of(id);
        let mut waiting: Vec<(WaiterKey, &HeldContent)> = Vec::new();
        for content in &contents {
            let found = self
                .sessions
                .waiters_for(id.space(), &content.tuple)
                .into_iter();
            waiting.extend(found.map(|key| (key, content)));
        }
        let takes = |key: &WaiterKey| self.sessions.waiter(key).is_some_and(|w| w.mode.takes());
        waiting.retain(|(key, content)| takes(key) && self.may(&key.0, content, true));
        // Whoever was told keeps its place, or the next waiter of its key would come before the
        // first of another.
        // Each once, however many contents it may want, or it would take the turns of others.
        let keys: BTreeSet<_> = waiting.iter().map(|(key, _)| *key).collect();
        let mut order = telling_order(id, keys.into_iter().collect());
        order.retain(|key| !hint.told.contains(key));
        if order.is_empty() {
            return;
        }
        let count = 1 << hint.steps.saturating_sub(1).min(16);
        let until = self.now + self.options.reservation;
        for key in order.into_iter().take(count) {
            let Some((_, content)) = waiting.iter().find(|(waiter, _)| *waiter == key) else {
                continue;
            };
            if hint.told.is_empty() {
                self.sessions.reserve(id, key.0, self.now, until);
            }
            hint.told.insert(key);
            self.push(key, content, out);
        }
        hint.steps += 1;
        hint.next_at = until;
        self.timers.arm(Timer::Hint(id.clone().into()), until);
        self.hints.insert(id.clone(), hint);
    }

    /// Names the content to the waiter, unless it may not have it: was it told?
    fn push(&mut self, key: WaiterKey, content: &HeldContent, out: &mut Outputs) -> bool {
        let Some(waiter) = self.sessions.waiter(&key) else {
            return false;
        };
        let (takes, full) = (waiter.mode.takes(), waiter.full);
        if !self.may(&key.0, content, takes) {
            return false;
        }
        let named = [(content.id.clone(), content.hash)].into_iter();
        let Some(candidate) = self.describe(&key.0, named, full).pop() else {
            return false;
        };
        self.count("pushed");
        match takes {
            true => self.reply(key.0, key.1, ReplyBody::Push(Box::new(candidate)), out),
            false => self.promise(key.0, key.1, ReplyBody::Push(Box::new(candidate))),
        }
        true
    }
}
