//! A disk without room: a commit that finds none is lost, and the store goes on when there is some.

use super::sim::{Limits, Sim};
use super::*;

/// Whatever room there is: a commit that finds none is an error that says so, and leaves nothing, or all; all before it
/// is there, and what comes when there is room again.
#[test]
fn room_that_ends_anywhere_costs_one_commit() {
    for room in (8_000..60_000).step_by(331) {
        let lock = folder();
        let sim = Sim::default();
        let mut store = open_in(&sim, lock.path()).expect("a new store");
        let limited = Limits {
            room: Some(room),
            ..Limits::default()
        };
        sim.limit(limited);
        let mut next = 1;
        let error = loop {
            match store.commit(batch(next..next + 3, 700)) {
                Ok(last) => assert_eq!(last, Some(Lsn(next + 2))),
                Err(error) => break error,
            }
            store
                .tend()
                .expect("what can wait does not fail for lack of room");
            next += 3;
        };
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.to_string().contains("cannot grow"), "{error}");
        // It is read again even now, and tried again. There may have been no room for what follows the commit.
        let durable = numbers(&mut store).expect("intact");
        next = 1 + durable.len() as u64;
        let all = (1..next).collect::<Vec<u64>>();
        assert!(durable == all && (next - 1) % 3 == 0, "{durable:?}");
        let again = store.commit(batch(next..next + 40, 700));
        assert!(matches!(again, Err(StoreError::Full { .. })), "{again:?}");
        sim.limit(Limits::default());
        assert_eq!(numbers(&mut store).expect("intact"), durable);
        store.has_room().expect("the folder of the lock has room");
        put(&mut store, batch(next..next + 3, 700));
        let all: Vec<u64> = (1..next + 3).collect();
        assert_eq!(numbers(&mut store).expect("intact"), all);
        drop(store);
        // A torn write that is still there.
        let mut store = open_in(&sim.crash(room as u64), lock.path()).expect("intact");
        assert_eq!(numbers(&mut store).expect("intact"), all);
    }
}
