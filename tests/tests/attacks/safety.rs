//! Schedules after which clients would have seen what cannot be (marks A).

use bts_core::client::Outcome;
use bts_core::configuration::{Allow, SpacePolicy};
use bts_core::consensus::ballot::owner;
use bts_core::content::{Content, Decision};
use bts_core::ids::{Ballot, EntryId, Epoch, ReplicaId, Seq, Session};
use bts_core::message::{ClientBody, ReplyBody};
use bts_tests::adversary::forge;
use bts_tests::directed::restarts::DISK_LOST;
use bts_tests::sim::batch::quietly;
use bts_tests::sim::cluster::{Cluster, space, swap, template, tuple};
use bts_tests::sim::node::{Message, Node, replica};
use bts_tests::sim::setup::{Setup, public};

use crate::hands::{
    Entry, Villain, beside_an_accomplice, between_replicas_to, number_owned_by, overhear,
    promise_of_s3, promise_to_all,
};

/// A1. 1. `x` is at s0, s1, and s3 says so. 2. A swap of `x` to `y` is decided by these, only s0 applies
/// it, its client is gone. 3. `rdp(Tx)`: s0 is empty, s2 never had it, s3 says what it likes. 4. `rdp(Ty)`
/// must not find nothing: the first has seen the swap.
#[test]
fn a1_swap_is_not_seen_half_done() {
    let mut c = beside_an_accomplice();
    let (writer, swapper, reader) = (c.client(), c.client(), c.client());
    c.world.lose(move |f| {
        let its = [Node::Client(writer), Node::Client(swapper)].contains(&f.from);
        its && f.to == replica(2)
    });
    c.out(writer, tuple("old 1"));
    c.world.lose(|f| between_replicas_to(f, &[1, 2]));
    c.world.lose(move |f| {
        let later = [replica(1), replica(2)].contains(&f.to);
        f.from == Node::Client(swapper) && f.is("decide") && later
    });
    c.start_swap(swapper, template("old *"), vec![tuple("new 1")]);
    c.run_ms(20);
    c.crash_client(swapper);
    let old = c.rdp(reader, template("old *"));
    let new = c.rdp(reader, template("new *"));
    assert!(old.is_some() || new.is_some(), "both halves are missing");
    c.judge();
}

/// A2. 1. A faulty writer signs `x` and `x'` under one id and sends both to all. 2. Two clients
/// take one each. One of them wins, whatever the contents; the id is gone for both.
#[test]
fn a2_two_contents_have_one_winner() {
    for swaps in [false, true] {
        let mut c = Cluster::new(4, 1, &[]);
        let (one, other) = (c.client(), c.client());
        let mut villain = Villain::join(&mut c);
        for content in ["left 1", "right 1"] {
            let entry = villain.entry(&c, 1, tuple(content));
            villain.write(&mut c, &entry, &[0, 1, 2, 3]);
        }
        c.run_ms(20);
        let take = |words| match swaps {
            true => swap(template(words), false, vec![tuple("put 1")]),
            false => bts_tests::sim::cluster::take(template(words), false),
        };
        let handles = [
            c.start(one, take("left *")),
            c.start(other, take("right *")),
        ];
        let outcomes = handles.map(|handle| c.finish(handle));
        let won = outcomes.iter().filter(|outcome| **outcome != Outcome::None);
        assert_eq!(won.count(), 1, "{outcomes:?}");
        c.judge();
    }
}

/// A3 (i). 1. A client signs two Takes with one number, with puts `y1` and `y2`, and sends each to half
/// of the replicas. 2. It makes one certificate of all their votes, and shows it to each half with the
/// Take that this half knows. 3. The replicas finish. Nobody has both, and all have the same.
#[test]
fn a3_two_takes_with_one_number_do_not_fork() {
    let mut c = Cluster::new(4, 1, &[]);
    let (writer, reader) = (c.client(), c.client());
    let outs = overhear(&mut c, |f| match &f.message {
        Message::Request(request) => match &request.body {
            ClientBody::Out { entry } => Some(entry.clone()),
            _ => None,
        },
        _ => None,
    });
    let id = c.out(writer, tuple("x 1"));
    let signed = outs.lock().expect("one thread")[0].clone();
    let entry = Entry {
        hash: forge::content_hash(&c.world.configuration, &signed),
        content: Content::Signed(signed),
        id,
    };
    let votes = overhear(&mut c, |f| match &f.message {
        Message::Reply(reply) => match &reply.body {
            ReplyBody::FirstVote(vote) => Some(vote.clone()),
            _ => None,
        },
        _ => None,
    });
    let mut villain = Villain::join(&mut c);
    let takes = ["y 1", "y 1", "y 2", "y 2"];
    let takes = takes.map(|put| villain.take(&entry, 1, 0, vec![tuple(put)]));
    for (to, take) in (0..).zip(&takes) {
        villain.tell(&mut c, to, ClientBody::Take(take.clone()));
    }
    c.run_ms(10);
    let votes = votes.lock().expect("one thread").clone();
    assert_eq!(votes.len(), 4, "each half votes for what it was sent");
    let certificate = forge::certificate(&votes).expect("four votes");
    for (to, request) in (0..).zip(takes) {
        let decision = Decision {
            certificate: certificate.clone(),
            take: Some(request.take),
        };
        let applied = false;
        villain.tell(&mut c, to, ClientBody::Decide { decision, applied });
    }
    c.run_ms(3_000);
    let first = c.rdp(reader, template("y *"));
    let taken = c.inp(reader, template("y *"));
    assert_eq!(first, taken);
    assert_eq!(
        c.rdp(reader, template("y *")),
        None,
        "the other put is nowhere"
    );
    c.judge();
}

/// A4. 1. Only `owner` may take. 2. A client without the right signs a Take of an entry whose first
/// ballot is s3's, and shows it to all, as Take and as evidence. 3. s3 promises and says so to all.
/// Nobody promises, votes or locks for it; who may take gets the entry.
#[test]
fn a4_recovery_is_no_way_around_the_policy() {
    let mut setup = Setup::calm(4, 1);
    let rights = SpacePolicy {
        take: Allow::Keys([public(&setup.client_key(0))].into()),
        ..SpacePolicy::default()
    };
    setup.policy.spaces.insert(space(), rights);
    let mut c = Cluster::of(setup, &[3]);
    let entitled = c.client();
    let mut villain = Villain::join(&mut c);
    let seq = number_owned_by(&c, &villain.forge, 3);
    let entry = villain.entry(&c, seq, tuple("x 1"));
    villain.write(&mut c, &entry, &[0, 1, 2]);
    let signs = overhear(&mut c, |f| {
        let binding = ["promise", "first vote", "prepare vote", "commit vote"];
        let honest = f.from != replica(3);
        (honest && binding.iter().any(|kind| f.is(kind))).then(|| f.message.kind())
    });
    claim(&mut c, &mut villain, &entry);
    assert_eq!(*signs.lock().expect("one thread"), Vec::<&str>::new());
    assert!(c.inp(entitled, template("x *")).is_some());
    c.judge();
}

/// A4. 1. A client signs a Take of the entry that `writer` is going to write next, with a made up
/// content. 2. s3 promises and shows it to all. 3. `writer` writes. Its entry is not burnt.
#[test]
fn a4_entry_that_nobody_holds_is_not_burnt() {
    for ballot_of in [3, 0] {
        let mut c = Cluster::new(4, 1, &[3]);
        let size = c.world.configuration.size();
        let writer = loop {
            let client = c.client();
            let id = next_id(&c, client);
            if owner(size, &id, Epoch(0), Ballot(1)) == ReplicaId(ballot_of) {
                break client;
            }
        };
        let mut villain = Villain::join(&mut c);
        let entry = Entry {
            id: next_id(&c, writer),
            ..villain.entry(&c, 1, tuple("bogus 1"))
        };
        claim(&mut c, &mut villain, &entry);
        let id = c.out(writer, tuple("x 1"));
        assert_eq!(id, entry.id, "the id was guessed");
        assert!(c.inp(writer, template("x *")).is_some());
        c.judge();
    }
}

fn next_id(c: &Cluster, client: usize) -> EntryId {
    let key = public(&c.world.setup.client_key(client));
    EntryId::written(space(), key, Session(client as u64 + 1), Seq(0))
}

/// Shows a Take to all, and a promise of s3 that rests on it.
fn claim(c: &mut Cluster, villain: &mut Villain, entry: &Entry) {
    let request = villain.take(entry, 1, 0, Vec::new());
    for to in 0..3 {
        villain.tell(c, to, ClientBody::Take(request.clone()));
        villain.tell(c, to, ClientBody::Evidence(request.clone()));
    }
    let promise = promise_of_s3(c, entry, 1, &request, true);
    promise_to_all(c, &promise, &request);
    c.run_ms(1_000);
}

/// A5. 1. A swap has the first votes of s0, s1, s2; they are lost, its client is cut off. 2. The replicas decide it
/// and everybody applies it. 3. The client comes back: it has won, once, and does not do it again.
#[test]
fn a5_winner_who_was_cut_off_learns_that_it_won() {
    let mut c = Cluster::new(4, 1, &[3]);
    let (writer, swapper) = (c.client(), c.client());
    c.out(writer, tuple("count 1"));
    c.world.lose(|f| f.is("first vote"));
    let handle = c.start_swap(swapper, template("count *"), vec![tuple("count 2")]);
    c.run_ms(10);
    for number in 0..4 {
        c.cut(replica(number), Node::Client(swapper));
    }
    c.run_ms(2_000);
    assert!(c.is_open(handle), "it hears nothing");
    let found = c.rdp(writer, template("count *")).expect("one of them");
    assert_eq!(found.tuple, tuple("count 2"), "decided without it");
    c.heal();
    assert!(matches!(c.finish(handle), Outcome::Swapped { .. }));
    assert_eq!(c.rdp(writer, template("count 1")), None);
    c.judge();
}

/// A7. 1. A swap of `x` to `y` and `z` is applied at s0 only, and its client is gone; s3 is slow. 2. A
/// reader finds `y` at s0 and writes it back. 3. s0 is cut off. Whoever looks for `z` then finds it, and nobody finds
/// `x`: a put comes with the whole decision.
#[test]
fn a7_put_is_not_written_back_alone() {
    let mut c = Cluster::new(4, 1, &[]);
    let (writer, swapper, reader) = (c.client(), c.client(), c.client());
    c.out(writer, tuple("x 1"));
    c.world.lose(|f| between_replicas_to(f, &[1, 2, 3]));
    c.world
        .lose(move |f| f.from == Node::Client(swapper) && f.is("decide") && f.to != replica(0));
    let slow = c.world.hold(|f| f.from == replica(3) && f.is("found"));
    let puts = vec![tuple("y 1"), tuple("z 1")];
    c.start_swap(swapper, template("x *"), puts);
    c.run_ms(20);
    c.crash_client(swapper);
    assert!(c.rdp(reader, template("y *")).is_some());
    c.isolate(0);
    c.world.release(slow);
    assert!(c.rdp(reader, template("z *")).is_some(), "the other put");
    assert_eq!(c.rdp(reader, template("x *")), None, "what was taken");
    c.judge();
}
/// A8. 1. Take A is decided by the votes of s0, s1, s3. 2. The disk of s0 is lost, and it votes all the
/// same. 3. s0, s2, s3 decide Take B. So it must be kept out, as the replica's program does.
#[test]
fn a8_lost_disk_that_votes_does_so_twice() {
    let why = quietly(DISK_LOST.run).expect_err("nothing else keeps it from voting twice");
    assert!(why.contains("s0 votes for"), "{why}");
}
