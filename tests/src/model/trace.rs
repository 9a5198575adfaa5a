//! The way to a state, in words. States do not say who is which; the way is walked once more with
//! replicas that keep their names.

use super::acceptor::Act;
use super::local::{Local, Packing, State};
use super::material::Told;
use super::world::{Next, Step, World};
use super::{Bounds, Pick};

/// The steps from the first state to the last one, and one more.
pub(super) fn explain(
    world: &mut World,
    packing: &mut Packing,
    path: &[State],
    last: Option<Next>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut state = path[0];
    for wanted in &path[1..] {
        let wanted = packing.pack(wanted);
        let mut successors = Vec::new();
        world.successors(&state, &mut successors);
        let taken = successors.into_iter().find(|(_, _, after)| {
            after
                .as_ref()
                .is_ok_and(|after| packing.pack(after) == wanted)
        });
        let (who, step, after) = taken.expect("the way was walked before");
        lines.push(describe(world, &state, who, step));
        state = after.expect("a good state");
    }
    if let Some((who, step, _)) = last {
        let same = path.last().map(|last| last.locals[who]);
        let who = state.locals().iter().position(|local| Some(*local) == same);
        let who = who.expect("the last state of the way");
        lines.push(describe(world, &state, who, step));
    }
    lines
}

fn describe(world: &World, state: &State, who: usize, step: Step) -> String {
    let bounds = &world.bounds;
    let local = &state.locals[who];
    let epoch = local.epoch;
    let act = match step {
        Step::NextEpoch => format!("learns that epoch {epoch} was released"),
        Step::Act(act) => describe_act(world, local, act),
        Step::Restart => "restarts".to_owned(),
        Step::Kept(act) => {
            let act = describe_act(world, local, act);
            format!("{act}, restarts before anybody hears of it")
        }
        Step::Lost(act) => {
            let act = describe_act(world, local, act);
            format!("{act}, restarts before it is stored")
        }
    };
    let epochs = match bounds.epochs {
        1 => String::new(),
        _ => format!(" (epoch {epoch})"),
    };
    format!("s{who} {act}{epochs}")
}

fn describe_act(world: &World, local: &Local, act: Act) -> String {
    let (bounds, epoch) = (&world.bounds, local.epoch);
    match act {
        Act::First(pick) => format!("gives its first vote to {}", name(bounds, pick)),
        Act::Enter(ballot) => {
            let told = told(bounds, world.told(epoch, local));
            format!("enters ballot {ballot}, promising with {told}")
        }
        Act::Prepare(ballot, pick) => {
            let value = name(bounds, pick);
            format!("accepts the proposal of {value} in ballot {ballot} and gives a prepare vote")
        }
        Act::Lock(ballot, pick) => {
            let value = name(bounds, pick);
            format!("accepts the lock of {value} in ballot {ballot} and gives a commit vote")
        }
    }
}

fn told(bounds: &Bounds, told: Told) -> String {
    let first = told
        .first
        .map_or("none".to_owned(), |pick| name(bounds, pick));
    let lock = told.lock.map_or("none".to_owned(), |(ballot, pick)| {
        format!("{} in ballot {ballot}", name(bounds, pick))
    });
    format!("first vote {first}, lock {lock}")
}

fn name(bounds: &Bounds, pick: Pick) -> String {
    match pick < bounds.takes {
        true => format!("Take {}", char::from(b'A' + pick)),
        false => "Release".to_owned(),
    }
}
