//! What a replica keeps of each entry, in bytes that it asks for: the same on every machine. What the
//! system adds to that, `cargo run --release -p bts-tests --bin live` measures.

use bts_core::crypto::sign::Signer;
use bts_core::ids::{Lsn, RequestId, Session, SpaceName, TakeNumber};
use bts_core::message::{ClientBody, ClientRequest};
use bts_core::replica::{Input, Outputs, Record, Replica};
use bts_core::template::{Pattern, Template};
use bts_core::time::Time;
use bts_core::tuple::FieldType;
use bts_tests::live::{SPACE, Share, TUPLE_BYTES};
use bts_tests::sim::setup::{Setup, client_ref};

const ENTRIES: u64 = 20_000;
/// Bytes of one entry above those of its tuple, of which 80 are its signature and its place in the order
/// of ids and on the ring 70.
const KEPT_MAX: i64 = 270;
/// What each entry adds to that which has a writer's session of its own.
const KEPT_OF_SESSION_MAX: i64 = 90;
/// What an index of a shape of templates adds. It grows in its order, so that its nodes are half full.
const INDEXED_MAX: i64 = 75;

/// Bytes per entry that this leaves behind.
fn per_entry(work: impl FnOnce()) -> i64 {
    allocation_counter::measure(work).bytes_current / ENTRIES.cast_signed()
}

/// A replica whose log holds these sessions, each with so many entries; and what it keeps of each.
fn recovered(sessions: u64, entries: u64) -> (Replica, i64) {
    let setup = Setup::calm(1, 0);
    let configuration = setup.configuration();
    let signer = Signer::new(setup.client_key(0), *configuration.signing_context());
    let options = setup.replica_options(&configuration, 0);
    let share = |session| Share::new(signer.clone(), Session(session), entries);
    let entries = (0..sessions).flat_map(share).map(Record::Entry);
    let log = (1..).map(Lsn).zip(entries);
    let mut made = None;
    let kept = per_entry(|| {
        let mut out = Outputs::default();
        made = Some(Replica::recover(options, Time::ZERO, log, &mut out));
    });
    let replica = made.expect("it was made").expect("a good log");
    assert_eq!(replica.live().count() as u64, ENTRIES);
    (replica, kept - TUPLE_BYTES as i64)
}

#[test]
fn memory_of_an_entry_is_bounded() {
    let (mut replica, kept) = recovered(1, ENTRIES);
    println!("{kept} bytes per entry");
    assert!(kept <= KEPT_MAX);
    let typed = |field_type| Pattern::Typed(field_type);
    let template: Template = [FieldType::Text, FieldType::Uint, FieldType::Bytes]
        .into_iter()
        .map(typed)
        .collect();
    let client = client_ref(&Setup::calm(1, 0).client_key(0), Session(1));
    let indexed = per_entry(|| {
        let mut out = Outputs::default();
        replica.handle(Time::ZERO, Input::ClientConnected(client), &mut out);
        let list = ClientRequest {
            request: RequestId(1),
            settled_below: TakeNumber(0),
            body: ClientBody::List {
                space: SpaceName::new(SPACE).expect("a good name"),
                template,
                after: None,
            },
        };
        replica.handle(Time::ZERO, Input::Client(client, list), &mut out);
        // It is made in slices.
        while let Some((due, _)) = replica.deadline().filter(|_| out.send.is_empty()) {
            replica.handle(due, Input::Tick, &mut out);
        }
        assert_eq!(out.send.len(), 1, "a page");
    });
    println!("{indexed} bytes per entry in an index");
    assert!(indexed <= INDEXED_MAX);
}

#[test]
fn memory_of_an_entry_is_bounded_if_each_has_a_session_of_its_own() {
    let (_, kept) = recovered(ENTRIES, 1);
    let bound = KEPT_MAX + KEPT_OF_SESSION_MAX;
    println!("{kept} bytes per entry and session");
    assert!(kept <= bound);
}
