//! What an operation costs, counted: messages, bytes, signatures made and checked, records and syncs. Unlike
//! seconds these are the same on every machine, so they must not grow unseen. Whoever lowers one lowers its
//! bound here and the table in docs/performance.md.

mod count;
mod signatures;

use bts_core::client::{Op, Outcome};
use bts_core::content::Put;
use bts_core::ids::SpaceName;
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{Field, FieldType, Tuple};

use count::{Counted, Counts, PerOp};

/// Operations of each kind: enough that what comes once for many does not matter.
const OPERATIONS: u64 = 64;

fn space() -> SpaceName {
    SpaceName::new("jobs").expect("a good name")
}

/// About 64 encoded bytes.
fn tuple(number: u64) -> Tuple {
    Tuple(vec![
        "job".into(),
        Field::Uint(number),
        Field::Bytes(vec![7; 50]),
    ])
}

fn the_one(number: u64) -> Template {
    template(Pattern::Exact(Field::Uint(number)))
}

fn any() -> Template {
    template(Pattern::Typed(FieldType::Uint))
}

fn template(number: Pattern) -> Template {
    Template(vec![
        Pattern::Exact("job".into()),
        number,
        Pattern::Typed(FieldType::Bytes),
    ])
}

fn out(number: u64) -> Op {
    let (space, put) = (space(), Put::from(tuple(number)));
    Op::Out { space, put }
}

fn rdp(template: Template) -> Op {
    let (space, wait) = (space(), false);
    Op::Read {
        space,
        template,
        wait,
    }
}

fn take(template: Template, wait: bool) -> Op {
    let (space, with) = (space(), None);
    Op::Take {
        space,
        template,
        wait,
        with,
    }
}

fn swapp(number: u64) -> Op {
    let next = move |_: &Tuple| Some(vec![Put::from(tuple(number))]);
    Op::Take {
        space: space(),
        template: any(),
        wait: false,
        with: Some(Box::new(next)),
    }
}

fn write_all(cluster: &mut Counted) {
    for number in 0..OPERATIONS {
        let written = cluster.run(0, out(number));
        assert!(matches!(written, Outcome::Written(_)), "{written:?}");
    }
}

/// Four replicas, one of which may be malicious, and two clients.
fn cluster() -> Counted {
    Counted::new(4, 1, 2)
}

/// Fails if more is counted than the bounds allow, which are in the order of [`Counts::NAMES`]; or so much less that they
/// are none any more.
fn demand(what: &str, found: PerOp, bounds: [f64; 10]) {
    println!("{what}: {found}");
    for ((name, found), bound) in Counts::NAMES.iter().zip(found.0).zip(bounds) {
        let found_it = format!("{what}: {found:.2} {name} per operation");
        assert!(found <= bound, "{found_it}, at most {bound}");
        assert!(
            found >= 0.8 * bound || bound < 1.0,
            "{found_it}: the bound {bound} has to follow, here and in docs/performance.md"
        );
    }
}

/// Has a client do so many operations side by side.
fn all_at_once(
    cluster: &mut Counted,
    client: usize,
    operation: impl Fn(u64) -> Op,
    is_right: impl Fn(&Outcome) -> bool,
) {
    let begun: Vec<_> = (0..OPERATIONS)
        .map(|number| cluster.begin(client, operation(number)))
        .collect();
    for handle in begun {
        let outcome = cluster.end(handle);
        assert!(is_right(&outcome), "{outcome:?}");
    }
}

fn is_found(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Found(_))
}

#[test]
fn cost_of_out() {
    let found = cluster().per_op(OPERATIONS, write_all);
    demand(
        "out",
        found,
        [2.0, 4.0, 4.0, 0.0, 840.0, 1.0, 4.0, 0.0, 4.0, 4.0],
    );
}

#[test]
fn cost_of_rdp_that_finds() {
    let mut cluster = cluster();
    write_all(&mut cluster);
    let found = cluster.per_op(OPERATIONS, |cluster| {
        for number in 0..OPERATIONS {
            let read = cluster.run(1, rdp(the_one(number)));
            assert!(matches!(read, Outcome::Found(_)), "{read:?}");
        }
    });
    demand(
        "rdp that finds",
        found,
        [2.0, 4.4, 4.4, 0.0, 930.0, 0.0, 0.0, 0.4, 0.0, 0.0],
    );
}

#[test]
fn cost_of_rdp_that_finds_nothing() {
    let mut cluster = cluster();
    write_all(&mut cluster);
    let found = cluster.per_op(OPERATIONS, |cluster| {
        for number in 0..OPERATIONS {
            let read = cluster.run(1, rdp(the_one(1_000_000 + number)));
            assert_eq!(read, Outcome::None);
        }
    });
    demand(
        "rdp that finds nothing",
        found,
        [4.0, 7.0, 7.0, 0.0, 210.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn cost_of_many_outs_at_once() {
    let found = cluster().per_op(OPERATIONS, |cluster| {
        let written = |outcome: &Outcome| matches!(outcome, Outcome::Written(_));
        all_at_once(cluster, 0, out, written);
    });
    demand(
        "many outs at once",
        found,
        [0.1, 4.0, 4.0, 0.0, 840.0, 1.0, 4.0, 0.0, 4.0, 0.1],
    );
}

/// All but the first few ask a quorum only (R-4.2g).
#[test]
fn cost_of_many_rdps_at_once() {
    let mut cluster = cluster();
    write_all(&mut cluster);
    let found = cluster.per_op(OPERATIONS, |cluster| {
        all_at_once(cluster, 1, |number| rdp(the_one(number)), is_found);
    });
    demand(
        "many rdps at once",
        found,
        [0.1, 3.1, 3.1, 0.0, 680.0, 0.0, 0.0, 0.1, 0.0, 0.0],
    );
}

#[test]
fn cost_of_many_inps_at_once() {
    let mut cluster = cluster();
    write_all(&mut cluster);
    let found = cluster.per_op(OPERATIONS, |cluster| {
        let inp = |number| take(the_one(number), false);
        all_at_once(cluster, 1, inp, is_found);
    });
    demand(
        "many inps at once",
        found,
        [0.1, 12.3, 8.3, 0.6, 9800.0, 1.1, 4.3, 1.1, 8.1, 0.2],
    );
}

/// Each with a template of its own, so that nothing can be asked for ahead.
#[test]
fn cost_of_inp_of_a_known_tuple() {
    let mut cluster = cluster();
    write_all(&mut cluster);
    let found = cluster.per_op(OPERATIONS, |cluster| {
        for number in 0..OPERATIONS {
            let taken = cluster.run(1, take(the_one(number), false));
            assert!(matches!(taken, Outcome::Found(_)), "{taken:?}");
        }
    });
    demand(
        "inp of a known tuple",
        found,
        [4.0, 12.4, 8.4, 0.6, 5800.0, 5.0, 16.0, 5.0, 8.1, 8.1],
    );
}

/// The next entry is asked for while one is taken (R-4.3c).
#[test]
fn cost_of_inp_in_a_loop() {
    let mut cluster = cluster();
    write_all(&mut cluster);
    let found = cluster.per_op(OPERATIONS, |cluster| {
        for _ in 0..OPERATIONS {
            let taken = cluster.run(1, take(any(), false));
            assert!(matches!(taken, Outcome::Found(_)), "{taken:?}");
        }
    });
    demand(
        "inp in a loop",
        found,
        [2.1, 8.8, 4.8, 0.6, 5700.0, 5.0, 16.0, 4.3, 8.1, 4.3],
    );
}

#[test]
fn cost_of_swap_in_a_loop() {
    let mut cluster = cluster();
    cluster.run(0, out(0));
    let found = cluster.per_op(OPERATIONS, |cluster| {
        for number in 0..OPERATIONS {
            let swapped = cluster.run(1, swapp(number));
            assert!(matches!(swapped, Outcome::Swapped { .. }), "{swapped:?}");
        }
    });
    demand(
        "swap in a loop",
        found,
        [4.1, 8.1, 8.1, 1.5, 6200.0, 5.0, 16.0, 4.1, 12.0, 8.1],
    );
}

/// One `in` waits, and one `out` gives it what it waits for.
#[test]
fn cost_of_hand_off() {
    let found = cluster().per_op(OPERATIONS, |cluster| {
        for number in 0..OPERATIONS {
            let waiting = cluster.begin(1, take(any(), true));
            // It waits at all replicas before the tuple is written.
            cluster.pass(bts_core::time::Span::from_millis(1));
            let written = cluster.run(0, out(number));
            assert!(matches!(written, Outcome::Written(_)), "{written:?}");
            let taken = cluster.end(waiting);
            assert!(matches!(taken, Outcome::Found(_)), "{taken:?}");
        }
    });
    demand(
        "hand-off",
        found,
        [4.0, 20.4, 16.4, 1.2, 6600.0, 6.0, 20.0, 5.0, 12.1, 12.1],
    );
}
