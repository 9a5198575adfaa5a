//! Clients that die in the middle, wherever that is.

use std::sync::atomic::{AtomicUsize, Ordering};

use bts_tests::sim::cluster::{Cluster, out, swap, take, template, tuple};
use bts_tests::sim::node::Node;

/// Messages after which a client may die in these runs; none of its operations needs more.
const MESSAGES: usize = 40;

/// A client dies after each of its messages in turn: the first `k` get through, nothing after them.
/// What it did has happened or has not; nobody waits for it, and nobody sees half of it.
#[test]
fn a1_b2_clients_may_die_after_any_message() {
    for operation in 0..3 {
        for survivors in 0..MESSAGES {
            let mut c = Cluster::new(4, 1, &[3]);
            let (one, dying) = (c.client(), c.client());
            c.out(one, tuple("old 1"));
            let sent = AtomicUsize::new(0);
            c.world.lose(move |f| {
                let its = f.from == Node::Client(dying);
                its && sent.fetch_add(1, Ordering::Relaxed) >= survivors
            });
            let op = match operation {
                0 => out(tuple("old 2")),
                1 => take(template("old *"), false),
                _ => swap(
                    template("old *"),
                    false,
                    vec![tuple("new 1"), tuple("new 2")],
                ),
            };
            c.start(dying, op);
            c.run_ms(40);
            c.crash_client(dying);
            for words in ["old *", "new *", "old *", "new *"] {
                c.rdp(one, template(words));
                c.inp(one, template(words));
            }
            c.judge();
        }
    }
}
