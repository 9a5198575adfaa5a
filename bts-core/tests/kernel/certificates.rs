//! Every change to a valid certificate or decision is refused, and for the right reason.

use bts_core::codec;
use bts_core::consensus::certificate::{Certificate, CertificateKind, Value, VoteKind};
use bts_core::content::{DecidedTake, Decision, Outcome};
use bts_core::crypto::sign::Kind;
use bts_core::ids::{EntryId, Epoch, PublicKey, ReplicaId};
use bts_core::misbehavior::Forgery;

use crate::support::{Cluster, id_in, signed, some_op, statement, take_payload};
use crate::votes::{altered, statements};

const WRITER: PublicKey = PublicKey([7; 32]);

fn entry() -> EntryId {
    id_in("jobs", WRITER, 1)
}

#[test]
fn certificate_needs_q_distinct_replicas() {
    let cluster = Cluster::of_four();
    for (kind, said) in statements() {
        let refusal = |voters: &[u16]| {
            let certificate = cluster.certificate(kind, &said, voters.iter().copied());
            cluster.verifier.certificate(certificate).map(drop)
        };
        assert_eq!(refusal(&[0, 1, 2]), Ok(()));
        assert_eq!(refusal(&[3, 1, 0]), Ok(()), "in any order");
        assert_eq!(refusal(&[]), Err(Forgery::TooFewVotes(0)));
        assert_eq!(refusal(&[0, 1]), Err(Forgery::TooFewVotes(2)));
        assert_eq!(refusal(&[0, 1, 1]), Err(Forgery::VoterTwice(ReplicaId(1))));
        assert_eq!(
            refusal(&[0, 1, 2, 3, 0]),
            Err(Forgery::VoterTwice(ReplicaId(0)))
        );
    }
}

#[test]
fn certificate_one_bad_vote_spoils_it() {
    let cluster = Cluster::of_four();
    for (kind, said) in statements() {
        let good = cluster.certificate(kind, &said, 0..4);
        for index in 0..4_u16 {
            let at = usize::from(index);
            let bad = Err(Forgery::BadSignature(cluster.key(index)));
            let check = |certificate| cluster.verifier.certificate(certificate);

            let mut swapped = good.clone();
            swapped.votes[at].1 = good.votes[(at + 1) % 4].1.clone();
            assert_eq!(check(swapped), bad, "the seal of another replica");
            let mut flipped = good.clone();
            flipped.votes[at].1.signature[5] ^= 1;
            assert_eq!(check(flipped), bad, "an altered signature");
            let mut foreign = good.clone();
            foreign.votes[at].0 = ReplicaId(99);
            assert_eq!(check(foreign), Err(Forgery::NoSuchReplica(ReplicaId(99))));
        }
        for other in altered(&said) {
            let payload = codec::encode(&other);
            let replayed = Certificate {
                payload,
                ..good.clone()
            };
            assert_eq!(
                cluster.verifier.certificate(replayed),
                Err(Forgery::BadSignature(cluster.key(0))),
                "votes for {said} as votes for {other}"
            );
        }
    }
}

/// The whole table of what votes are good for, n = 4 and n = 6.
#[test]
fn certificate_kind_and_number_give_the_meaning() {
    let four = Cluster::of_four();
    let six = Cluster::new(6, 1, 1, [9; 32]);
    let decides = |cluster: &Cluster, kind, voters| {
        let ballot = u32::from(kind == VoteKind::Prepare);
        let said = statement(&entry(), 0, ballot, Value::Take(some_op(1)));
        let certificate = cluster.certificate(kind, &said, 0..voters);
        let valid = cluster.verifier.certificate(certificate.clone()).unwrap();
        let decision = cluster.verifier.decision_certificate(certificate.clone());
        let lock = cluster.verifier.lock(certificate, &entry(), Epoch(0));
        assert_eq!(lock.is_ok(), kind != VoteKind::Commit);
        match valid.meaning() {
            CertificateKind::Decision => assert!(decision.is_ok()),
            CertificateKind::Lock => assert_eq!(decision, Err(Forgery::NotADecision)),
        }
        valid.meaning() == CertificateKind::Decision
    };
    assert!(!decides(&four, VoteKind::First, 3), "F - 1");
    assert!(decides(&four, VoteKind::First, 4));
    assert!(!decides(&six, VoteKind::First, 4), "F - 1");
    assert!(decides(&six, VoteKind::First, 5));
    for cluster in [&four, &six] {
        let (n, q) = (
            cluster.replicas.len() as u16,
            cluster.configuration.size().ack_quorum(),
        );
        for voters in q as u16..=n {
            assert!(!decides(cluster, VoteKind::Prepare, voters));
            assert!(decides(cluster, VoteKind::Commit, voters));
        }
    }
}

#[test]
fn lock_is_for_its_instance_and_never_of_commit_votes() {
    let cluster = Cluster::of_four();
    let said = statement(&entry(), 1, 2, Value::Take(some_op(1)));
    let lock = |kind, id: &EntryId, epoch| {
        let certificate = cluster.certificate(kind, &said, 0..3);
        cluster
            .verifier
            .lock(certificate, id, Epoch(epoch))
            .map(drop)
    };
    assert_eq!(lock(VoteKind::Prepare, &entry(), 1), Ok(()));
    assert_eq!(lock(VoteKind::Commit, &entry(), 1), Err(Forgery::NotALock));
    let wrong = Err(Forgery::WrongInstance);
    assert_eq!(lock(VoteKind::Prepare, &entry(), 0), wrong);
    assert_eq!(
        lock(VoteKind::Prepare, &id_in("other", WRITER, 1), 1),
        wrong
    );
    assert_eq!(lock(VoteKind::Prepare, &entry().put(0).unwrap(), 1), wrong);
}

/// (G1) A writer signs one counter in two spaces; a Release of one must not open the next epoch of
/// the other. The space is a part of the id, so it is another instance.
#[test]
fn release_g1_of_one_space_is_not_replayed_into_another() {
    let cluster = Cluster::of_four();
    let (here, there) = (id_in("a", WRITER, 1), id_in("b", WRITER, 1));
    let release = |ballot| {
        let said = statement(&here, 0, ballot, Value::Release);
        cluster.certificate(VoteKind::Commit, &said, 0..3)
    };
    let check = |certificate, id: &EntryId, epoch| {
        cluster
            .verifier
            .release(certificate, id, Epoch(epoch))
            .map(drop)
    };
    assert_eq!(check(release(1), &here, 0), Ok(()));
    assert_eq!(check(release(1), &there, 0), Err(Forgery::WrongInstance));
    assert_eq!(check(release(1), &here, 1), Err(Forgery::WrongInstance));

    let taken = statement(&here, 0, 1, Value::Take(some_op(1)));
    let taken = cluster.certificate(VoteKind::Commit, &taken, 0..3);
    assert_eq!(
        check(taken, &here, 0),
        Err(Forgery::WrongInstance),
        "no Release"
    );
    let said = statement(&here, 0, 1, Value::Release);
    let prepared = cluster.certificate(VoteKind::Prepare, &said, 0..4);
    assert_eq!(check(prepared, &here, 0), Err(Forgery::NotADecision));
}

#[test]
fn decision_comes_with_the_take_it_names() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let take = take_payload(&client, &entry(), 0);
    let bytes = signed(&client, Kind::Take, &take);
    let op = cluster.verifier.take(bytes.clone()).unwrap().op();
    let decide = |id: &EntryId, epoch, value, take| {
        let said = statement(id, epoch, 1, value);
        let certificate = cluster.certificate(VoteKind::Commit, &said, 1..4);
        cluster.verifier.decision(Decision { certificate, take })
    };
    let value = Value::Take(op);
    let decided = decide(&entry(), 0, value, Some(bytes.clone()));
    assert!(matches!(decided, Ok(Outcome::Taken(taken)) if taken.op() == op));
    let released = decide(&entry(), 0, Value::Release, None);
    assert!(matches!(released, Ok(Outcome::Released(_))));

    let mismatch = Err(Forgery::TakeMismatch);
    assert_eq!(decide(&entry(), 0, value, None), Err(Forgery::TakeMissing));
    assert_eq!(decide(&entry(), 1, value, Some(bytes.clone())), mismatch);
    let other = id_in("other", WRITER, 1);
    assert_eq!(decide(&other, 0, value, Some(bytes.clone())), mismatch);
    let other = Value::Take(some_op(1));
    assert_eq!(decide(&entry(), 0, other, Some(bytes.clone())), mismatch);
    let mut forged = bytes;
    forged.seal.signature[0] ^= 1;
    let bad = Err(Forgery::BadSignature(client.public()));
    assert_eq!(decide(&entry(), 0, value, Some(forged)), bad);
}

/// R-2.3 (A3) Another Take of the same client for the same entry, with other puts, is another value.
#[test]
fn decision_a3_puts_are_part_of_the_value() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let mut take = take_payload(&client, &entry(), 0);
    let one = cluster
        .verifier
        .take(signed(&client, Kind::Take, &take))
        .unwrap();
    take.puts.pop();
    let two = cluster
        .verifier
        .take(signed(&client, Kind::Take, &take))
        .unwrap();
    assert_ne!(one.op(), two.op());
    let said = statement(&entry(), 0, 0, Value::Take(one.op()));
    let certificate = cluster.certificate(VoteKind::First, &said, 0..4);
    let take = Some(two.signed().clone());
    assert_eq!(
        cluster.verifier.decision(Decision { certificate, take }),
        Err(Forgery::TakeMismatch)
    );
}

/// A witness of a decision cannot be made of votes that do not decide.
#[test]
fn decision_is_not_made_of_a_lock() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let take = signed(&client, Kind::Take, &take_payload(&client, &entry(), 0));
    let take = cluster.verifier.take(take).unwrap();
    let said = statement(&entry(), 0, 0, Value::Take(take.op()));
    for (voters, fits) in [(3, Err(Forgery::NotADecision)), (4, Ok(()))] {
        let certificate = cluster.certificate(VoteKind::First, &said, 0..voters);
        let valid = cluster.verifier.certificate(certificate).unwrap();
        assert_eq!(DecidedTake::new(valid, take.clone()).map(drop), fits);
    }
}

#[test]
fn decision_every_flipped_bit_is_refused() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let take = signed(&client, Kind::Take, &take_payload(&client, &entry(), 0));
    let op = cluster.verifier.take(take.clone()).unwrap().op();
    let said = statement(&entry(), 0, 1, Value::Take(op));
    let decision = Decision {
        certificate: cluster.certificate(VoteKind::Commit, &said, 0..3),
        take: Some(take),
    };
    let bytes = codec::encode(&decision);
    assert!(cluster.verifier.decision(decision).is_ok());
    let mut decoded = 0;
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decision) = codec::decode_client::<Decision>(&flipped) {
            decoded += 1;
            assert!(cluster.verifier.decision(decision).is_err(), "bit {bit}");
        }
    }
    assert!(decoded > 3000, "most flips reach the verifier: {decoded}");
}
