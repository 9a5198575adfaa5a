//! Attacks on what a replica votes for: Takes that nobody may make, or nobody made (A3, A4).

use bts_core::configuration::{Allow, SpacePolicy};
use bts_core::content::TakePayload;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{ContentHash, EntryId, Epoch, Seq, Session, TakeNumber};
use bts_core::message::PeerMessage;

use super::Schedule;
use super::stage::{Item, Stage};
use super::steps::play;
use crate::sim::cluster::{space, template, tuple};
use crate::sim::setup::{Setup, public};

/// All of them.
pub(super) const ALL: &[Schedule] = &[
    Schedule::new("a3_take_by_another", a3_take_by_another),
    Schedule::new("a3_take_by_nobody", a3_take_by_nobody),
    Schedule::new("a4_entry_not_held", a4_entry_not_held),
    Schedule::new("a4_policy", a4_policy),
];

/// A Take in the name of a correct client, who knows nothing of it.
fn foreign(s: &mut Stage, item: &Item) -> SignedBytes {
    let victim = s.c.client();
    let payload = TakePayload {
        client: public(&s.c.world.setup.client_key(victim)),
        session: Session(victim as u64 + 1),
        number: TakeNumber(0),
        id: item.id.clone(),
        content: item.content,
        epoch: Epoch(0),
        puts: Vec::new(),
    };
    s.forge(0).sign_take(&payload)
}

/// The Take is made known, and its time comes. The entry must still be there.
fn told(s: &mut Stage, take: &SignedBytes) {
    s.open_doors(&[0, 1, 2]);
    s.show(0, take, &[0, 1, 2]);
    s.c.run_ms(3_000);
    demand_prize(s);
}

fn demand_prize(s: &mut Stage) {
    s.open_doors(&[0, 1, 2]);
    let reader = s.c.client();
    let found = s.c.rdp(reader, template("prize *"));
    assert!(found.is_some(), "nobody took it, and it is gone");
}

/// A hostile client signs a Take that names a correct one (A3).
fn a3_take_by_another() {
    play(|s| {
        let item = s.item();
        let take = foreign(s, &item);
        told(s, &take);
        Some(())
    });
}

/// A Take in the name of a correct client, under a signature that is none.
fn a3_take_by_nobody() {
    play(|s| {
        let item = s.item();
        let take = foreign(s, &item);
        let payload: TakePayload = bts_core::codec::decode_payload(&take.payload).expect("a Take");
        let signer = payload.client;
        told(s, &SignedBytes { signer, ..take });
        Some(())
    });
}

/// A Take on the entry that a correct client will write next: nobody holds it yet (A4).
fn a4_entry_not_held() {
    play(|s| {
        let writer = s.c.client();
        let key = public(&s.c.world.setup.client_key(writer));
        let id = EntryId::written(space(), key, Session(writer as u64 + 1), Seq(0));
        let content = ContentHash(Digest([7; 32]));
        let take = s.take(0, 0_u64, &Item { id, content }, &[]);
        let votes = s.ask_votes(0, &take, &[0, 1, 2]);
        if let Some(decision) = s.certify(&votes, true) {
            s.decide(&decision, Some(&take), &[0, 1, 2]);
        }
        s.c.out(writer, tuple("prize 1"));
        demand_prize(s);
        Some(())
    });
}

/// The liar promises with the Take of a client that may not take, and proposes it (A4).
fn a4_policy() {
    let mut setup = Setup::calm(4, 1);
    let rights = SpacePolicy {
        insert: Allow::All,
        read: Allow::All,
        take: Allow::Keys([public(&setup.client_key(1_000_000))].into_iter().collect()),
    };
    setup.policy.spaces.insert(space(), rights);
    let mut stage = Stage::of(setup);
    take_forbidden(&mut stage);
    demand_prize(&mut stage);
}

fn take_forbidden(s: &mut Stage) -> Option<()> {
    let item = s.item();
    let take = s.take(1, 0_u64, &item, &[]);
    let lie = s.lie(&item, 1, None, None, &[&take]);
    for number in 0..3 {
        let promise = PeerMessage::Promise {
            promise: lie.clone(),
            takes: vec![take.clone()],
            released: None,
        };
        s.say(number, promise);
    }
    s.wait_for_window();
    let [one, two] = [0, 1].map(|number| s.promise_of(number, &item, 1));
    let said = s.says(&item, 1, s.value(&take));
    let decision = s.ballot(&said, &[one?, two?, lie], &[&take], &[0, 1, 2])?;
    s.decide(&decision, Some(&take), &[0, 1, 2]);
    Some(())
}
