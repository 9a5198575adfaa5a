//! A store without room: what is held is told, nothing is promised, and nothing of what was
//! promised is lost.

use bts_core::message::{
    ClientBody, FetchKey, Given, LockRequest, PeerMessage, ReadMode, Refused, ReplyBody,
};
use bts_core::replica::Input;

use crate::cast::{Client, Target, any, bare, read, task};
use crate::support::{WINDOW, World};

fn frozen(replica: u16) -> (World, Client, Target) {
    let mut world = World::with_real(&[0, 1]);
    let client = world.client(1);
    let target = world.out(&client, 1, task(1), &[0, 1]);
    world.step(replica, Input::Frozen(Some("the disk is full".into())));
    (world, client, target)
}

fn is_no_room(answer: &Option<ReplyBody>) -> bool {
    matches!(answer, Some(ReplyBody::Refused(Refused::NoRoom(why))) if why == "the disk is full")
}

#[test]
fn frozen_replica_answers_what_needs_no_log() {
    let (mut world, client, target) = frozen(0);
    for mode in [ReadMode::Rdp, ReadMode::Enter, ReadMode::Rd] {
        let answer = world.ask(&client, 0, read(any("task"), mode));
        let Some(ReplyBody::Found { candidates, .. }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(candidates.len(), 1, "{mode:?}");
    }
    let key = FetchKey::Content(target.id.clone(), target.hash);
    let answer = world.ask(&client, 0, ClientBody::Fetch(key.clone()));
    assert!(matches!(answer, Some(ReplyBody::Given(_))), "{answer:?}");
    world.peer(1, 0, PeerMessage::Fetch(key));
    let given = |(from, to, message): &(u16, u16, PeerMessage)| {
        (*from, *to) == (0, 1) && matches!(message, PeerMessage::Given(Given::Content(..)))
    };
    assert!(world.wire.iter().any(given), "peers may have what it holds");
    let answer = world.ask(&client, 0, ClientBody::Inspect);
    let Some(ReplyBody::Report(report)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(report.trouble.as_deref(), Some("the disk is full"));
}

#[test]
fn frozen_replica_promises_and_logs_nothing() {
    let (mut world, client, target) = frozen(0);
    let logged = world.logged[0];
    let take = client.take(&target, 0, 1);
    let decision = world.decision(&take);
    let entry = || client.entry(2, task(2));
    let lock = LockRequest {
        certificate: decision.certificate.clone(),
        take: take.clone(),
        released: None,
    };
    for body in [
        ClientBody::Out { entry: entry() },
        ClientBody::WriteBack { entry: entry() },
        ClientBody::Take(bare(&take)),
        ClientBody::Evidence(bare(&take)),
        ClientBody::Lock(lock),
        ClientBody::Decide {
            decision: decision.clone(),
            applied: true,
        },
    ] {
        let answer = world.ask(&client, 0, body.clone());
        assert!(is_no_room(&answer), "{body:?}: {answer:?}");
    }
    let entry = entry();
    world.peer(2, 0, PeerMessage::Relay { entry });
    world.peer(2, 0, PeerMessage::Decide(decision));
    world.pass(WINDOW);
    world.pass(WINDOW);
    assert_eq!(world.logged[0], logged);
    assert_eq!(world.replica(0).deadline(), None, "nothing is due");
}

/// The instance opened before runs its timers again, and what was refused is done when repeated.
#[test]
fn frozen_replica_goes_on_when_there_is_room() {
    let (mut world, client, target) = frozen(0);
    let take = client.take(&target, 0, 1);
    assert!(is_no_room(&world.ask(
        &client,
        0,
        ClientBody::Take(bare(&take))
    )));
    world.step(0, Input::Frozen(None));
    let answer = world.ask(&client, 0, ClientBody::Take(bare(&take)));
    assert!(
        matches!(answer, Some(ReplyBody::FirstVote(_))),
        "{answer:?}"
    );
    assert!(world.replica(0).deadline().is_some());
    world.step(0, Input::Frozen(Some("again".into())));
    assert_eq!(world.replica(0).deadline(), None);
    world.step(0, Input::Frozen(None));
    assert!(world.replica(0).deadline().is_some());
}
