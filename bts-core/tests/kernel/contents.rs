//! Entries and Takes: only what their signer signed, in the one legal form, is believed.

use bts_core::codec::{self, DecodeError};
use bts_core::consensus::certificate::{Value, VoteKind};
use bts_core::content::{Access, Content, Decision, EntryPayload, IllFormed, Put, TakePayload};
use bts_core::crypto::sign::{Kind, SignedBytes, Signer};
use bts_core::ids::{EntryId, Epoch, PublicKey, Seq, Session, SpaceName};
use bts_core::limits::{ACCESS_KEYS_MAX, FIELDS_MAX, PUTS_MAX, TUPLE_BYTES_MAX};
use bts_core::misbehavior::Forgery;
use bts_core::tuple::{Tuple, TupleError};

use crate::support::{Cluster, entry_payload, id_in, signed, statement, take_payload};

fn refusal(cluster: &Cluster, writer: &Signer, entry: &EntryPayload) -> Option<Forgery> {
    cluster
        .verifier
        .entry(signed(writer, Kind::Entry, entry))
        .err()
}

fn take_refusal(cluster: &Cluster, client: &Signer, take: &TakePayload) -> Option<Forgery> {
    cluster
        .verifier
        .take(signed(client, Kind::Take, take))
        .err()
}

#[test]
fn entry_of_another_writer_is_refused() {
    let cluster = Cluster::of_four();
    let (writer, thief) = (cluster.client(40), cluster.client(41));
    let entry = entry_payload(&writer, 1);
    assert_eq!(refusal(&cluster, &writer, &entry), None);
    let foreign = Some(Forgery::IllFormed(IllFormed::ForeignSigner));
    assert_eq!(refusal(&cluster, &thief, &entry), foreign);
    let mut claimed = signed(&thief, Kind::Entry, &entry);
    claimed.signer = writer.public();
    let bad = Forgery::BadSignature(writer.public());
    assert_eq!(cluster.verifier.entry(claimed).err(), Some(bad));
}

#[test]
fn signed_kinds_are_not_interchangeable() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let bad = Some(Forgery::BadSignature(client.public()));
    let entry = codec::encode(&entry_payload(&client, 1));
    let take = codec::encode(&take_payload(&client, &id_in("a", client.public(), 1), 0));
    let others = [
        Kind::EndSession,
        Kind::First,
        Kind::Prepare,
        Kind::Commit,
        Kind::Promise,
    ];
    for kind in others.into_iter().chain([Kind::Take]) {
        assert_eq!(
            cluster
                .verifier
                .entry(client.sign(kind, entry.clone()))
                .err(),
            bad
        );
    }
    for kind in others.into_iter().chain([Kind::Entry]) {
        assert_eq!(
            cluster.verifier.take(client.sign(kind, take.clone())).err(),
            bad
        );
    }
}

/// (C8) What a client signs outlives a change of replicas, but not of the cluster.
#[test]
fn entry_c8_is_bound_to_the_cluster_and_not_to_its_configuration() {
    let here = Cluster::of_four();
    let writer = here.client(40);
    let entry = signed(&writer, Kind::Entry, &entry_payload(&writer, 1));
    let take = take_payload(&writer, &id_in("a", writer.public(), 1), 0);
    let take = signed(&writer, Kind::Take, &take);
    let grown = Cluster::new(5, 1, 2, [9; 32]);
    let op = here.verifier.take(take.clone()).unwrap().op();
    assert!(grown.verifier.entry(entry.clone()).is_ok());
    assert_eq!(grown.verifier.take(take.clone()).unwrap().op(), op);
    let other = Cluster::new(4, 1, 1, [8; 32]);
    let bad = Some(Forgery::BadSignature(writer.public()));
    assert_eq!(other.verifier.entry(entry).err(), bad);
    assert_eq!(other.verifier.take(take).err(), bad);
}

#[test]
fn entry_ill_formed_is_refused_whoever_signed_it() {
    let cluster = Cluster::of_four();
    let writer = cluster.client(40);
    let good = entry_payload(&writer, 1);
    let check = |entry: EntryPayload, why| {
        assert_eq!(
            refusal(&cluster, &writer, &entry),
            Some(Forgery::IllFormed(why))
        );
    };
    let id = good.id.put(0).unwrap();
    check(EntryPayload { id, ..good.clone() }, IllFormed::NotARoot);
    check(
        EntryPayload {
            expiry: Some(1),
            ..good.clone()
        },
        IllFormed::Expiry,
    );
    let bytes = vec![0; TUPLE_BYTES_MAX - 5];
    let tuple = Tuple(vec![bytes.clone().into()]);
    assert_eq!(
        refusal(
            &cluster,
            &writer,
            &EntryPayload {
                tuple,
                ..good.clone()
            }
        ),
        None
    );
    let tuple = Tuple(vec![bytes.into(), 1u64.into()]);
    let why = TupleError::TooLong {
        bytes: TUPLE_BYTES_MAX + 2,
    };
    check(
        EntryPayload {
            tuple,
            ..good.clone()
        },
        IllFormed::BadTuple(why),
    );
    for lists in [
        |keys| Access {
            read: Some(keys),
            take: None,
        },
        |keys| Access {
            read: None,
            take: Some(keys),
        },
    ] {
        let with = |count| EntryPayload {
            access: Some(lists(vec![writer.public(); count])),
            ..good.clone()
        };
        assert_eq!(refusal(&cluster, &writer, &with(ACCESS_KEYS_MAX)), None);
        check(with(ACCESS_KEYS_MAX + 1), IllFormed::AccessTooLong);
    }
}

/// Longer lists are refused while decoding, before memory is spent on them.
#[test]
fn entry_and_take_lists_are_bounded_while_decoding() {
    let cluster = Cluster::of_four();
    let writer = cluster.client(40);
    let fields = |count| EntryPayload {
        tuple: Tuple(vec![true.into(); count]),
        ..entry_payload(&writer, 1)
    };
    assert_eq!(refusal(&cluster, &writer, &fields(FIELDS_MAX)), None);
    let undecodable = |refused| matches!(refused, Some(Forgery::Undecodable(_)));
    assert!(undecodable(refusal(
        &cluster,
        &writer,
        &fields(FIELDS_MAX + 1)
    )));
    let puts = |count| TakePayload {
        puts: vec![Put::from(Tuple(Vec::new())); count],
        ..take_payload(&writer, &id_in("a", writer.public(), 1), 0)
    };
    assert_eq!(take_refusal(&cluster, &writer, &puts(PUTS_MAX)), None);
    assert!(undecodable(take_refusal(
        &cluster,
        &writer,
        &puts(PUTS_MAX + 1)
    )));
}

#[test]
fn take_ill_formed_is_refused_whoever_signed_it() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let good = take_payload(&client, &id_in("a", client.public(), 1), 3);
    assert_eq!(take_refusal(&cluster, &client, &good), None);
    let foreign = Some(Forgery::IllFormed(IllFormed::ForeignSigner));
    assert_eq!(take_refusal(&cluster, &cluster.client(41), &good), foreign);
    let check = |take: TakePayload, why| {
        assert_eq!(
            take_refusal(&cluster, &client, &take),
            Some(Forgery::IllFormed(why))
        );
    };
    let epoch = Epoch(4);
    check(
        TakePayload {
            epoch,
            ..good.clone()
        },
        IllFormed::EpochTooHigh,
    );
    let put = |length| Put::from(Tuple(vec![vec![0; length].into()]));
    let puts = vec![put(60_000); 3];
    check(
        TakePayload {
            puts,
            ..good.clone()
        },
        IllFormed::BadPuts,
    );
    let why = TupleError::TooLong {
        bytes: TUPLE_BYTES_MAX + 1,
    };
    let puts = vec![put(TUPLE_BYTES_MAX - 4)];
    check(
        TakePayload {
            puts,
            ..good.clone()
        },
        IllFormed::BadTuple(why),
    );
    let mut late = put(1);
    late.expiry = Some(1);
    check(
        TakePayload {
            puts: vec![late],
            ..good
        },
        IllFormed::Expiry,
    );
}

/// (C6) The last id that a Take can put in place, and the first that none can.
#[test]
fn take_c6_too_deep_a_descent_is_ill_formed() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let mut id = id_in("a", client.public(), 1);
    for step in 0..32 {
        id = id.put(step % 2).unwrap();
    }
    let puts = |count| TakePayload {
        puts: vec![Put::from(Tuple(Vec::new())); count],
        ..take_payload(&client, &id, 0)
    };
    assert_eq!(
        take_refusal(&cluster, &client, &puts(0)),
        None,
        "taking only"
    );
    let deep = Some(Forgery::IllFormed(IllFormed::BadPuts));
    assert_eq!(take_refusal(&cluster, &client, &puts(1)), deep);
}

/// Ids in another than their one legal form would be other keys for the same entry, and a run of
/// no steps an underflow for whoever asks for the origin.
#[test]
fn id_in_another_form_does_not_decode() {
    let root = id_in("a", PublicKey([7; 32]), 1);
    let bytes = codec::encode(&root);
    let with_path = |path: &[u8]| {
        let mut bytes = bytes.clone();
        bytes.pop();
        bytes.extend(path);
        codec::decode_client::<EntryId>(&bytes)
    };
    assert_eq!(with_path(&[0]), Ok(root.clone()));
    assert_eq!(with_path(&[1, 5, 1]), Ok(root.put(5).unwrap()));
    let malformed = |decoded| matches!(decoded, Err(DecodeError::Malformed(_)));
    assert!(malformed(with_path(&[1, 5, 0])), "an empty run");
    assert!(
        malformed(with_path(&[2, 5, 1, 5, 1])),
        "a run in two pieces"
    );
    let runs = |count: u8| {
        let mut path = vec![count];
        path.extend((0..count).flat_map(|step| [step % 2, 1]));
        path
    };
    assert!(with_path(&runs(32)).is_ok());
    assert!(malformed(with_path(&runs(33))), "too many runs");
    // Tag 1, space "a", an empty key, no path: a lineage, which this version does not have.
    assert!(malformed(codec::decode_client::<EntryId>(&[
        1, 1, b'a', 0, 0
    ])));
}

#[test]
fn content_is_proved_for_the_id_it_is_given_for() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let entry = entry_payload(&client, 1);
    let content = Content::Signed(signed(&client, Kind::Entry, &entry));
    let check = |content: &Content, id: &EntryId| cluster.verifier.content(content.clone(), id);
    let wrong = Err(Forgery::WrongInstance);
    assert_eq!(check(&content, &entry.id).unwrap().tuple, entry.tuple);
    assert_eq!(check(&content, &id_in("jobs", client.public(), 2)), wrong);
    let child = entry.id.put(0).unwrap();
    assert_eq!(check(&content, &child), wrong);

    let decide = |value, take: Option<SignedBytes>| {
        let said = statement(&entry.id, 0, 1, value);
        let certificate = cluster.certificate(VoteKind::Commit, &said, 0..3);
        Content::Put(Box::new(Decision { certificate, take }))
    };
    let take = signed(&client, Kind::Take, &take_payload(&client, &entry.id, 0));
    let op = cluster.verifier.take(take.clone()).unwrap().op();
    let put = decide(Value::Take(op), Some(take));
    assert_eq!(check(&put, &child).unwrap().id, child);
    assert_eq!(check(&put, &entry.id), wrong);
    assert_eq!(check(&put, &entry.id.put(1).unwrap()), wrong, "it puts one");
    let released = decide(Value::Release, None);
    assert_eq!(check(&released, &child), Err(Forgery::TakeMissing));
}

#[test]
fn entry_and_take_every_flipped_bit_is_refused() {
    let cluster = Cluster::of_four();
    let client = cluster.client(40);
    let entry = codec::encode(&entry_payload(&client, 1));
    let take = codec::encode(&take_payload(&client, &id_in("a", client.public(), 1), 0));
    let seals = client.seal(&[(Kind::Entry, &entry), (Kind::Take, &take)]);
    let signer = client.public();
    for (kind, payload, seal) in [
        (Kind::Entry, entry, &seals[0]),
        (Kind::Take, take, &seals[1]),
    ] {
        let seal = seal.clone();
        let bytes = codec::encode(&SignedBytes {
            payload,
            signer,
            seal,
        });
        let believed = |bytes: &[u8]| {
            let signed = codec::decode_client::<SignedBytes>(bytes).ok()?;
            match kind {
                Kind::Entry => cluster.verifier.entry(signed).map(drop).ok(),
                _ => cluster.verifier.take(signed).map(drop).ok(),
            }
        };
        assert!(believed(&bytes).is_some());
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(believed(&flipped), None, "{kind:?}, bit {bit}");
        }
    }
}

/// What was signed is hashed as it came: a signer that encodes wastefully is believed, and its
/// message keeps its own identity.
#[test]
fn payload_is_hashed_as_received() {
    let cluster = Cluster::of_four();
    let writer = cluster.client(40);
    let space = SpaceName::new("a").unwrap();
    let entry = EntryPayload {
        id: EntryId::written(space, writer.public(), Session(3), Seq(1)),
        ..entry_payload(&writer, 1)
    };
    let canonical = codec::encode(&entry);
    let mut wasteful = canonical.clone();
    wasteful.splice(0..1, [251, 0, 0]);
    let one = cluster
        .verifier
        .entry(writer.sign(Kind::Entry, canonical))
        .unwrap();
    let two = cluster
        .verifier
        .entry(writer.sign(Kind::Entry, wasteful.clone()))
        .unwrap();
    assert_eq!(*one, *two, "equal in meaning");
    assert_ne!(one.leaf(), two.leaf(), "not in identity");
    assert_eq!(two.signed().payload, wasteful, "and never re-encoded");
}
