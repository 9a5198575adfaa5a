//! The end of a configuration, case by case: what a state says of an entry, and which exports are
//! none.

use bts_core::codec;
use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Epoch, Lsn, ReplicaId};
use bts_core::message::{ClientBody, LockRequest};
use bts_core::misbehavior::Forgery;
use bts_core::replica::Record;
use bts_core::replica::handover::{BadExport, CannotUnite, Export, United, sign_export, unite};
use bts_core::time::Span;

use crate::cast::{Client, Target, bare, statement, task};
use crate::support::World;

const ALL: [u16; 4] = [0, 1, 2, 3];
const PURPOSE: Digest = Digest([3; 32]);

/// The export of a replica that holds these records, whether or not they are its own.
pub(crate) fn export(world: &World, replica: u16, records: &[Record]) -> Result<Export, BadExport> {
    let (header, bytes) = sealed(world, replica, records);
    Export::verify(&world.verifier, ReplicaId(replica), PURPOSE, header, bytes)
}

/// The records of a replica that stopped after them, and their seal.
fn sealed(world: &World, replica: u16, records: &[Record]) -> (SignedBytes, Vec<Vec<u8>>) {
    let end = Record::Stopped(PURPOSE);
    let bytes: Vec<_> = records.iter().chain([&end]).map(codec::encode).collect();
    let signer = &world.signers[usize::from(replica)];
    let header = sign_export(signer, PURPOSE, bytes.iter().map(Vec::as_slice));
    (header, bytes)
}

pub(crate) fn log_of(world: &World, replica: u16) -> Vec<Record> {
    let log = world.log_of(replica).iter();
    log.map(|(_, record)| record.clone()).collect()
}

/// All but those given up export, each as `records` says.
pub(crate) fn united(
    world: &World,
    given_up: &[u16],
    records: impl Fn(u16) -> Vec<Record>,
) -> Result<United, CannotUnite> {
    let all = ALL.into_iter().filter(|i| !given_up.contains(i));
    let exports: Vec<_> = all
        .map(|i| export(world, i, &records(i)).expect("a legal log"))
        .collect();
    let given_up = given_up.iter().copied().map(ReplicaId).collect();
    unite(world.configuration.size(), &exports, &given_up)
}

/// Nobody lies.
fn truthful(world: &World, given_up: &[u16]) -> United {
    united(world, given_up, |i| log_of(world, i)).expect("at most f are missing")
}

/// One lies.
fn with_liar(world: &World, liar: u16, lie: &[Record]) -> Result<United, CannotUnite> {
    united(world, &[], |i| match i == liar {
        true => lie.to_vec(),
        false => log_of(world, i),
    })
}

fn vote(world: &mut World, client: &Client, take: &SignedBytes, at: &[u16]) {
    for i in at {
        world.ask(client, *i, ClientBody::Take(bare(take)));
    }
}

/// The lock of this value, shown to these replicas.
fn lock(
    world: &mut World,
    client: &Client,
    target: &Target,
    (ballot, value, take): (u32, Value, &SignedBytes),
    at: &[u16],
) {
    let kind = match ballot {
        0 => VoteKind::First,
        _ => VoteKind::Prepare,
    };
    let said = statement(&target.id, 0, ballot, value);
    let request = LockRequest {
        certificate: world.certificate(kind, &said, &[0, 1, 3]),
        take: take.clone(),
        released: None,
    };
    world
        .cut
        .extend(ALL.iter().flat_map(|i| ALL.map(|j| (*i, j))));
    for i in at {
        world.ask(client, *i, ClientBody::Lock(request.clone()));
    }
}

fn decide(world: &mut World, client: &Client, take: &SignedBytes, at: &[u16]) {
    let decision = world.decision(take);
    for i in at {
        let (decision, applied) = (decision.clone(), false);
        world.ask(client, *i, ClientBody::Decide { decision, applied });
    }
}

fn scene() -> (World, Client, Target) {
    let mut world = World::of_four();
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &ALL);
    (world, client, target)
}

/// A8, C8: decided by the commit votes of s0, s1, s3, which only the client has seen; s0 loses its memory.
#[test]
fn handover_a8_decided_by_votes_of_whom_is_replaced() {
    let (mut world, client, target) = scene();
    let take = client.take(&target, 0, 1);
    vote(&mut world, &client, &take, &[0, 1, 3]);
    let value = Value::Take(world.op(&take));
    lock(&mut world, &client, &target, (0, value, &take), &[0, 1, 3]);
    for lost in [0, 1, 3] {
        let united = truthful(&world, &[lost]);
        assert!(!united.is_present(&target.id), "without s{lost}");
        let op = united.concluded.get(&target.id).map(|take| take.op());
        assert_eq!(op, Some(world.op(&take)), "without s{lost}");
    }
}

/// F first votes have decided; a liar tells of another vote, and of none.
#[test]
fn handover_c8_first_votes_decided_and_nobody_was_told() {
    let (mut world, client, target) = scene();
    let take = client.take_and_put(&target, 0, 1, &[task(7)]);
    let other = client.take(&target, 0, 2);
    vote(&mut world, &client, &take, &ALL);
    let entry = log_of(&world, 0).first().cloned().expect("an entry");
    let lie = [entry, Record::FirstVote(other)];
    for liar in ALL {
        for told in [0, 1, 2] {
            let united = with_liar(&world, liar, &lie[..told]).expect("one liar");
            assert!(united.concluded.contains_key(&target.id), "s{liar}");
            let put = target.id.put(0).expect("short");
            assert!(united.is_present(&put) && !united.is_present(&target.id));
        }
    }
}

/// Too few votes for anything: the entry goes on in the same epoch, in which the client may still take it. (In
/// an earlier epoch a Take would have effect that its client has given up.)
#[test]
fn handover_b2_what_nobody_decided_goes_on_where_it_was() {
    let (mut world, client, target) = scene();
    for (i, number) in [(0, 1), (1, 2), (2, 3)] {
        let take = client.take(&target, 0, number);
        vote(&mut world, &client, &take, &[i]);
    }
    let united = truthful(&world, &[]);
    assert!(united.is_present(&target.id));
    assert_eq!(united.epoch(&target.id), Epoch(0));
    let certificate = world.release(&target.id, 0);
    let mut late = log_of(&world, 3);
    late.push(Record::Released(certificate));
    let united = with_liar(&world, 3, &late).expect("a true word");
    assert_eq!(
        united.epoch(&target.id),
        Epoch(1),
        "one knows of the release"
    );
    assert!(united.released.contains_key(&target.id));
}

/// One has locked a release in ballot 1, another a Take in ballot 0: the release may have been decided.
#[test]
fn handover_c8_the_highest_lock_counts() {
    let (mut world, client, target) = scene();
    let take = client.take(&target, 0, 1);
    let value = Value::Take(world.op(&take));
    lock(&mut world, &client, &target, (0, value, &take), &[1]);
    let release = (1, Value::Release, &take);
    lock(&mut world, &client, &target, release, &[2]);
    let united = truthful(&world, &[]);
    assert_eq!(united.ended.get(&target.id), Some(&Epoch(0)));
    assert!(united.is_present(&target.id));
    assert_eq!(united.epoch(&target.id), Epoch(1));
}

/// G5: one replica applied the decision, and it is the only one to know.
#[test]
fn handover_g5_one_has_applied_the_decision() {
    let (mut world, client, target) = scene();
    let take = client.take_and_put(&target, 0, 1, &[task(7), task(8)]);
    ALL.iter().for_each(|i| world.isolate(*i));
    decide(&mut world, &client, &take, &[2]);
    let united = truthful(&world, &[]);
    assert!(united.decided.contains_key(&target.id));
    assert_eq!(united.puts.len(), 2);
    let hidden = with_liar(&world, 2, &[]).expect("one liar");
    assert!(
        hidden.is_present(&target.id),
        "no vote was cast by anybody else"
    );
}

/// Three have forgotten, one of which takes that back; the fourth never heard of it.
fn forgotten() -> (World, Target, Vec<Record>) {
    let (mut world, client, target) = scene();
    let before = log_of(&world, 2);
    let take = client.take(&target, 0, 1);
    world.isolate(3);
    decide(&mut world, &client, &take, &[0, 1, 2]);
    world.settled.insert(client.at, 2);
    for i in [0, 1, 2] {
        world.ask(&client, i, ClientBody::Inspect);
    }
    world.pass(Span::from_millis(1_000));
    (world, target, before)
}

/// A5, C1: so many words make it true that an entry is gone, and no fewer.
#[test]
fn handover_c1_gone_is_what_enough_say() {
    let (world, target, before) = forgotten();
    let united = with_liar(&world, 2, &before).expect("one liar");
    assert!(!united.is_present(&target.id));
    assert_eq!(united.gone_roots.len(), 1);

    let (mut world, client, _) = scene();
    let other = world.out(&client, 2, task(2), &ALL);
    let lie = log_of(&forgotten().0, 0);
    let united = with_liar(&world, 0, &lie).expect("one liar");
    assert!(united.is_present(&other.id));
    assert!(united.gone_roots.is_empty());
}

/// A liar says both, that an entry was taken, with the proof, and that it is gone, beside one who has forgotten
/// it: the state says one of both, or no replica could begin with it.
#[test]
fn handover_c8_taken_and_gone_is_told_once() {
    let (world, target, mut kept) = forgotten();
    let mut decided = log_of(&world, 0).into_iter();
    kept.extend(decided.find(|record| matches!(record, Record::Decided(_))));
    let mut lie = kept.clone();
    lie.push(Record::Skipped(target.id.clone()));
    let united = united(&world, &[], |i| match i {
        0 => log_of(&world, 0),
        3 => lie.clone(),
        _ => kept.clone(),
    });
    let united = united.expect("one liar");
    assert!(united.taken(&target.id).is_some());
    assert!(united.gone_roots.is_empty(), "{:?}", united.gone_roots);
}

/// C8: that s1 is missing, and correct, cannot be told from its being lost. With a liar beside it the entry would
/// be there again; so who does not export has to be given up, and is one of the faulty.
#[test]
fn handover_c8_too_few_exports_bring_back_what_was_forgotten() {
    let (world, target, before) = forgotten();
    let records = |i| match i {
        2 => before.clone(),
        _ => log_of(&world, i),
    };
    let exports: Vec<_> = [0, 2, 3]
        .map(|i| export(&world, i, &records(i)).expect("legal"))
        .into();
    let size = world.configuration.size();
    let refused = unite(size, &exports, &[].into()).err();
    assert_eq!(refused, Some(CannotUnite::Missing(ReplicaId(1))));
    let united = unite(size, &exports, &[ReplicaId(1)].into()).expect("given up");
    assert!(
        united.is_present(&target.id),
        "two were faulty, of which one may be"
    );
    assert!(
        !truthful(&world, &[1]).is_present(&target.id),
        "and so with one"
    );
}

#[test]
fn handover_seats_are_counted() {
    let (world, _, _) = scene();
    let size = world.configuration.size();
    let one = |i| export(&world, i, &log_of(&world, i)).expect("legal");
    let all: Vec<_> = ALL.map(one).into();
    let refused = |exports: &[Export], given_up: &[u16]| {
        let given_up = given_up.iter().copied().map(ReplicaId).collect();
        unite(size, exports, &given_up).err()
    };
    assert_eq!(refused(&all, &[]), None);
    assert_eq!(refused(&all, &[2]), Some(CannotUnite::Twice(ReplicaId(2))));
    let twice: Vec<_> = [0, 1, 2, 3, 1].map(one).into();
    assert_eq!(refused(&twice, &[]), Some(CannotUnite::Twice(ReplicaId(1))));
    let too_many = Some(CannotUnite::TooManyGivenUp(2));
    assert_eq!(refused(&all[..2], &[2, 3]), too_many);
}

/// More are faulty than may be: that is said, and no state made.
#[test]
fn handover_two_decisions_or_an_orphan_are_too_many_faults() {
    let (world, client, target) = scene();
    let log = |number| {
        let take = client.take_and_put(&target, 0, number, &[task(7)]);
        let mut log = log_of(&world, 0);
        log.push(Record::Decided(world.decision(&take)));
        log
    };
    let (one, other) = (log(1), log(2));
    let result = united(&world, &[], |i| match i {
        0 => one.clone(),
        1 => other.clone(),
        _ => log_of(&world, i),
    });
    let fault = Some(CannotUnite::TooManyFaults(target.id.clone()));
    assert_eq!(result.err(), fault);

    let orphan = Target {
        id: target.id.put(0).expect("short"),
        ..target.clone()
    };
    let take = client.take(&orphan, 0, 3);
    let lie = [Record::Decided(world.decision(&take))];
    let result = with_liar(&world, 0, &lie);
    assert_eq!(result.err(), Some(CannotUnite::TooManyFaults(orphan.id)));
}

/// An export binds the cluster, the configuration, its purpose, and each byte.
#[test]
fn handover_c8_exports_are_bound_to_what_they_are_for() {
    let (world, client, _) = scene();
    let records = log_of(&world, 1);
    let (header, bytes) = sealed(&world, 1, &records);
    let verify = |header: &SignedBytes, purpose, bytes: &[Vec<u8>]| {
        let (seat, header) = (ReplicaId(1), header.clone());
        Export::verify(&world.verifier, seat, purpose, header, bytes.to_vec()).err()
    };
    assert_eq!(verify(&header, PURPOSE, &bytes), None);
    let (of_another, same) = sealed(&world, 2, &records);
    assert_eq!(
        verify(&of_another, PURPOSE, &same),
        Some(BadExport::OtherSeat(ReplicaId(2)))
    );
    let elsewhere = verify(&header, Digest([4; 32]), &bytes);
    assert_eq!(elsewhere, Some(BadExport::OtherPurpose));
    let going_on = &bytes[..bytes.len() - 1];
    let header_of_it = sign_export(
        &world.signers[1],
        PURPOSE,
        going_on.iter().map(Vec::as_slice),
    );
    let going_on = verify(&header_of_it, PURPOSE, going_on);
    assert_eq!(going_on, Some(BadExport::NotStopped));
    let cut = verify(&header, PURPOSE, &[]);
    assert_eq!(cut, Some(BadExport::OtherRecords));
    let mut changed = bytes.clone();
    changed[0][3] ^= 1;
    let changed = verify(&header, PURPOSE, &changed);
    assert_eq!(changed, Some(BadExport::OtherRecords));
    let by_client = sign_export(&client.signer, PURPOSE, bytes.iter().map(Vec::as_slice));
    let stranger = Forgery::NotAReplica(client.at.key);
    assert_eq!(
        verify(&by_client, PURPOSE, &bytes),
        Some(BadExport::Unsigned(stranger))
    );
    let mut claimed = header;
    claimed.signer = world.signers[2].public();
    let forged = Forgery::BadSignature(claimed.signer);
    assert_eq!(
        verify(&claimed, PURPOSE, &bytes),
        Some(BadExport::Unsigned(forged))
    );
}

/// Whatever else a liar writes into its log convicts it.
#[test]
fn handover_a12_records_prove_themselves() {
    let (world, client, target) = scene();
    let take = client.take(&target, 0, 1);
    let other = client.take(&target, 0, 2);
    let value = Value::Take(world.op(&take));
    let said = statement(&target.id, 0, 0, value);
    let locked = |kind, by: &[u16], take: &SignedBytes| {
        Record::Locked(world.certificate(kind, &said, by), take.clone())
    };
    let forged = |record: Record| match export(&world, 0, &[record]) {
        Err(BadExport::Forged(Lsn(1), forgery)) => forgery,
        other => panic!("{other:?}"),
    };
    let lock = |take| locked(VoteKind::First, &[0, 1, 2], take);
    assert!(export(&world, 0, &[lock(&take)]).is_ok());
    assert_eq!(forged(lock(&other)), Forgery::TakeMismatch);
    let few = locked(VoteKind::First, &[0, 1], &take);
    assert_eq!(forged(few), Forgery::TooFewVotes(2));
    let commits = locked(VoteKind::Commit, &[0, 1, 2], &take);
    assert_eq!(forged(commits), Forgery::NotALock);
    let mut decision = world.decision(&take);
    decision.certificate.votes.pop();
    let few = forged(Record::Decided(decision));
    assert_eq!(few, Forgery::TooFewVotes(2));
    let mut entry = client.entry(5, task(5));
    entry.payload[40] ^= 1;
    assert_eq!(
        forged(Record::Entry(entry)),
        Forgery::BadSignature(client.at.key)
    );
    let twice = [Record::FirstVote(take), Record::FirstVote(other)];
    let result = export(&world, 0, &twice);
    assert!(matches!(result, Err(BadExport::Contradicts(Lsn(2), _))));
}
