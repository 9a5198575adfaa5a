//! What is left of ended sessions in the next configuration: whatever they had won is settled,
//! and so forgotten. The ends themselves stay behind; what that allows is harmless.

use bts_core::ids::TakeNumber;
use bts_core::message::{ClientBody, Refused, ReplyBody};
use bts_core::replica::Record;
use bts_core::replica::handover::United;

use crate::cast::{Client, Target, task};
use crate::ends::{assert_all_forgotten, end, is_forgotten, sibling, take_of, won};
use crate::forget::{A_WHILE, ALL};
use crate::founding::next;
use crate::handover::{log_of, united};
use crate::support::World;

/// A session that won something and crashed, and the end of it, that these replicas logged.
fn scene(told: &[u16]) -> (World, Client, Target) {
    let mut world = World::of_four();
    let crashed = world.client(1);
    let target = won(&mut world, &crashed, 1);
    // Nobody tells anybody of the end.
    ALL.iter().for_each(|i| world.isolate(*i));
    for i in told {
        assert_eq!(
            end(&mut world, &crashed, *i, crashed.at),
            Some(ReplyBody::Ack)
        );
    }
    (world, crashed, target)
}

fn truthful(world: &World) -> United {
    united(world, &[], |i| log_of(world, i)).expect("nobody lies")
}

/// `f+1` exports that know of the end settle all that the session won: in the next configuration it is forgotten,
/// and nobody has to end the session there. One export is not believed: a liar could say so of a session that
/// works.
#[test]
fn ends_r712_what_an_ended_session_won_is_forgotten_in_the_next_configuration() {
    for told in [&[0][..], &[0, 2], &ALL] {
        let (world, crashed, target) = scene(told);
        let state = truthful(&world);
        assert!(state.taken(&target.id).is_some(), "by {told:?}");
        let settled = (told.len() > 1).then_some(TakeNumber(u64::MAX));
        assert_eq!(state.settled.get(&crashed.at).copied(), settled, "{told:?}");
        let mut world = next(&world, &state, &[]);
        let heir = sibling(&mut world, 1, 9);
        world.pass(A_WHILE);
        for i in ALL {
            let forgotten = is_forgotten(&mut world, &heir, i, &target);
            assert_eq!(forgotten, told.len() > 1, "s{i}, by {told:?}");
        }
        // One that is open there is ended like any other.
        assert_eq!(end(&mut world, &heir, 0, crashed.at), Some(ReplyBody::Ack));
        world.pass(A_WHILE);
        assert_all_forgotten(&mut world, &heir, &target);
    }
}

/// The end itself does not go along: a Take of the session gets first votes there, if its own process, or who has
/// its key, asks for them under the session's number. It takes effect once, as any Take that was known when the
/// session ended may; and the session is open then, and can be ended again.
#[test]
fn ends_r712_an_end_stays_behind_and_its_session_may_be_ended_again() {
    let mut world = World::of_four();
    let ended = world.client(1);
    let target = world.out(&ended, 2, task(2), &ALL);
    for i in ALL {
        assert_eq!(end(&mut world, &ended, i, ended.at), Some(ReplyBody::Ack));
    }
    let refused = Some(ReplyBody::Refused(Refused::SessionEnded));
    assert_eq!(take_of(&mut world, &ended, 0, &target), refused);
    let state = truthful(&world);
    let mut world = next(&world, &state, &[]);
    let is_end = |record: &Record| matches!(record, Record::Ended(_));
    assert!(!log_of(&world, 0).iter().any(is_end));
    let (again, heir) = (world.client(1), sibling(&mut world, 1, 9));
    assert_eq!(again.at, ended.at);
    for i in ALL {
        let vote = take_of(&mut world, &again, i, &target);
        assert!(matches!(vote, Some(ReplyBody::FirstVote(_))), "{vote:?}");
    }
    let decision = world.decision(&again.take(&target, 0, 0));
    for i in ALL {
        let (decision, applied) = (decision.clone(), false);
        world.ask(&again, i, ClientBody::Decide { decision, applied });
    }
    world.pass(A_WHILE);
    assert!(!is_forgotten(&mut world, &heir, 0, &target), "it is open");
    assert_eq!(end(&mut world, &heir, 0, again.at), Some(ReplyBody::Ack));
    world.pass(A_WHILE);
    for i in ALL {
        assert!(is_forgotten(&mut world, &heir, i, &target), "s{i}");
        let late = take_of(&mut world, &again, i, &target);
        assert!(matches!(late, Some(ReplyBody::Removed { .. })), "{late:?}");
    }
}
