//! What a replica lets an operator begin, and what not.

use std::fs;
use std::path::Path;

use bts_certs::cluster::{Cluster, FoundedOn, Member, purpose_of};
use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ClientRef, Lsn, PublicKey, Session, TakeNumber};
use bts_core::replica::Record;
use bts_core::replica::handover::StateHasher;
use serde_bytes::ByteBuf;

use super::beginning::Beginning;
use crate::home;
use crate::settings::{Durability, Settings};
use crate::store::{DiskStore, Store};

fn settings(home: &Path) -> Settings {
    Settings {
        durability: Durability::Sync(home.into()),
        ..crate::driver::tests::settings()
    }
}

fn members(settings: &Settings) -> Vec<Member> {
    let members = settings.cluster.members();
    members.map(|(_, member)| member.clone()).collect()
}

fn records() -> Vec<ByteBuf> {
    let client = |seed| ClientRef {
        key: PublicKey([seed; 32]),
        session: Session(7),
    };
    let settled = |seed| Record::Settled(client(seed), TakeNumber(9));
    let encoded = |seed| ByteBuf::from(codec::encode(&settled(seed)));
    (1..=5).map(encoded).collect()
}

fn next(settings: &Settings) -> Cluster {
    let mut hasher = StateHasher::default();
    records().iter().for_each(|record| hasher.add(record));
    let founding = FoundedOn {
        proofs: Digest([1; 32]),
        state: hasher.finish(),
        empty: [].into(),
    };
    let next = settings.cluster.next(&members(settings), founding);
    next.expect("a cluster")
}

fn begin(settings: &Settings, text: String) -> Result<Beginning, String> {
    let purpose = purpose_of(&settings.cluster, &members(settings));
    Beginning::new(settings, purpose, text)
}

/// What is in the store that would be used at the next start.
fn log_at(settings: &Settings, home: &Path) -> Vec<(Lsn, Record)> {
    let cluster = home::newest(home, settings.cluster.clone()).expect("readable");
    let settings = settings
        .clone()
        .in_configuration(cluster)
        .expect("a member");
    let number = settings.cluster.configuration().number();
    let dir = home::store_dir(home, number);
    let (mut store, _) = DiskStore::open(&dir, &settings.owner()).expect("a store");
    let mut log = Vec::new();
    store
        .replay(&mut |records| log.extend(records))
        .expect("intact");
    log
}

#[test]
fn beginning_is_used_from_then_on() {
    let home = tempfile::tempdir().expect("a folder");
    let settings = settings(home.path());
    // Somebody was interrupted while moving in.
    fs::create_dir(home::store_dir(home.path(), 1)).expect("a folder");
    let mut beginning = begin(&settings, next(&settings).to_toml()).expect("it fits");
    let records = records();
    assert_eq!(beginning.take(0, records[..2].to_vec()), Ok(2));
    assert_eq!(beginning.take(2, records[2..].to_vec()), Ok(5));
    let cluster = beginning.finish().expect("all is there");
    assert_eq!(cluster.configuration(), next(&settings).configuration());
    let log = log_at(&settings, home.path());
    let numbers: Vec<_> = log.iter().map(|(lsn, _)| lsn.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let again = log
        .iter()
        .map(|(_, record)| ByteBuf::from(codec::encode(record)));
    assert_eq!(again.collect::<Vec<_>>(), records);
}

#[test]
fn beginning_that_does_not_follow_is_refused() {
    let home = tempfile::tempdir().expect("a folder");
    let settings = settings(home.path());
    let text = next(&settings).to_toml();
    let key = settings.identity.identity().key_hex();
    let policy = format!("clients = []\noperators = [\"{key}\"]");
    for (from, to, why) in [
        ("", "?", "wrong in"),
        ("number = 1", "number = 2", "more than members"),
        ("clients = \"all\"", "clients = []", "more than members"),
        ("clients = \"all\"", policy.as_str(), "that of replica 0"),
        ("localhost:1", "localhost:2", "another change"),
        (key.as_str(), &"ab".repeat(32), ""),
    ] {
        let changed = text.replacen(from, to, 1);
        let refused = begin(&settings, changed).map(|_| ()).expect_err(from);
        assert!(
            why == "wrong in" || refused.contains(why),
            "{from}: {refused}"
        );
    }
    let other = Beginning::new(&settings, Digest([9; 32]), text).map(|_| ());
    assert!(other.expect_err("not this one").contains("another change"));
    assert!(
        begin(&settings, settings.cluster.to_toml()).is_err(),
        "the same again"
    );
}

#[test]
fn beginning_with_other_records_is_refused_and_changes_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let settings = settings(home.path());
    let text = next(&settings).to_toml();
    let mut beginning = begin(&settings, text.clone()).expect("it fits");
    assert!(beginning.take(1, records()).is_err(), "some are missing");
    assert!(beginning.take(0, vec![ByteBuf::from([255; 9])]).is_err());
    let mut long = records().remove(0).into_vec();
    long.push(0);
    assert!(beginning.take(0, vec![ByteBuf::from(long)]).is_err());
    drop(beginning);
    for wrong in [&records()[..4], &[records(), records()].concat()[..], &[]] {
        let mut beginning = begin(&settings, text.clone()).expect("it fits");
        let taken = beginning.take(0, wrong.to_vec());
        assert_eq!(taken, Ok(wrong.len() as u64));
        let refused = beginning.finish().map(|_| ()).expect_err("not the state");
        assert!(refused.contains("are not what"), "{refused}");
        assert_eq!(log_at(&settings, home.path()), []);
    }
}
