//! The end of sessions: what has ended takes nothing more, and only the dead are ended, by their own key.

use bts_core::client::{Op, Outcome};
use bts_core::ids::{RequestId, Session, TakeNumber};
use bts_core::message::{ClientBody, ClientRequest, Refused};
use bts_core::time::Span;

use super::Schedule;
use super::stage::Mute;
use crate::adversary::forge::ClientForge;
use crate::sim::cluster::{Cluster, take, template, tuple};
use crate::sim::node::{Flight, Message, Node, replica};
use crate::sim::setup::{Setup, client_ref, public};

/// All of them.
pub(super) const ALL: &[Schedule] = &[
    Schedule::new("h1_living_sibling", h1_living_sibling),
    Schedule::new("h3_end_of_another", h3_end_of_another),
    Schedule::new("h5_goes_on_after_its_end", h5_goes_on_after_its_end),
];

fn cluster() -> Cluster {
    let mut setup = Setup::calm(4, 1);
    setup.lingers = Span::from_micros(0);
    Cluster::of(setup, &[])
}

/// Two replicas lose sight of a process. Another one of its key looks for who is dead.
fn h1_living_sibling() {
    let mut c = cluster();
    let (living, writer) = (c.client(), c.client());
    let sibling = c.sibling(living);
    c.out(writer, tuple("job 1"));
    // As long as what it put is there, what it won is kept.
    let swapped = c.swapp(living, template("job *"), vec![tuple("doing 1")]);
    assert!(swapped.is_some());
    for number in [0, 1] {
        c.cut(Node::Client(living), replica(number));
        c.world.reset((Node::Client(living), replica(number)));
    }
    c.run_ms(100);
    let end = c.start(sibling, Op::End { own: false });
    assert_eq!(c.finish(end), Outcome::Ended);
    c.heal();
    c.run_ms(100);
    let found = c.inp(living, template("doing *"));
    assert!(found.is_some(), "it was seen by two, and is ended");
    c.judge();
}

/// A hostile client ends the session of another key, by its own signature, at all replicas.
fn h3_end_of_another() {
    let mut c = cluster();
    let victim = c.client();
    c.out(victim, tuple("job 1"));
    let key = c.world.setup.client_key(1_000_000);
    let forge = ClientForge::new(&c.world.configuration, key.clone(), Session(1));
    let identity = client_ref(&key, Session(1));
    let hostile = c.world.add_client_machine(Box::new(Mute), identity, false);
    c.world.connect_client(hostile, 1);
    c.run_ms(10);
    let of = public(&c.world.setup.client_key(victim));
    let end = forge.end(of, Session(victim as u64 + 1));
    for number in 0..4 {
        let message = Message::Request(ClientRequest {
            request: RequestId(1),
            settled_below: TakeNumber(0),
            body: ClientBody::EndSession(end.clone()),
        });
        c.world.send(Flight {
            from: Node::Client(hostile),
            to: replica(number),
            message,
        });
    }
    c.run_ms(50);
    assert!(c.inp(victim, template("job *")).is_some());
    c.judge();
}

/// A process ends its session and takes all the same.
fn h5_goes_on_after_its_end() {
    let mut c = cluster();
    let (client, writer) = (c.client(), c.client());
    c.out(writer, tuple("job 1"));
    let end = c.start(client, Op::End { own: true });
    assert_eq!(c.finish(end), Outcome::Ended);
    c.run_ms(100);
    let after = c.start(client, take(template("job *"), false));
    let refused = Outcome::Refused(Refused::SessionEnded);
    assert_eq!(c.finish(after), refused, "nobody votes for it any more");
    assert!(c.inp(writer, template("job *")).is_some());
    c.judge();
}
