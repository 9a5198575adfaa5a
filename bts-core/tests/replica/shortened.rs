//! Logs from which what is obsolete was deleted: they lead to the replica that the whole log leads to.

use bts_core::ids::Lsn;
use bts_core::message::{ClientBody, PeerMessage};
use bts_core::replica::{Outputs, Record, Replica};
use bts_core::time::Span;

use crate::cast::{Client, Target, bare, task};
use crate::forget::{ALL, Said, said, swap};
use crate::support::World;
use crate::turmoil::Dice;

/// All that a replica says of these entries.
fn picture(world: &mut World, client: &Client, at: u16, targets: &[Target]) -> Vec<Said> {
    targets
        .iter()
        .map(|target| said(world, client, at, target))
        .collect()
}

/// One life of four replicas: entries, swaps and takes, some by a client that never settles, and one
/// replica away for a part of it.
fn live(seed: u64) -> (World, Client, Vec<Target>) {
    let mut dice = Dice(seed);
    let mut world = World::of_four();
    let (client, crashed) = (world.client(1), world.client(2));
    let mut all = Vec::new();
    let mut present: Vec<Target> = Vec::new();
    let (mut number, mut at) = (0, ALL.to_vec());
    for seq in 0..30 {
        match dice.below(10) {
            0..3 => {
                let target = world.out(&client, seq, task(seq), &at);
                present.push(target.clone());
                all.push(target);
            }
            3..8 if !present.is_empty() => {
                let target = present.swap_remove(dice.below(present.len() as u64) as usize);
                let who = match dice.below(4) {
                    0 => &crashed,
                    _ => &client,
                };
                let puts = [0, 0, 1, 1, 2][dice.below(5) as usize];
                let mut epoch = 0;
                while dice.below(2) == 0 && epoch < 3 {
                    if dice.below(2) == 0 {
                        let take = client.take(&target, epoch, 500);
                        let vote = ClientBody::Take(bare(&take));
                        world.send(&client, 0, vote);
                    }
                    let (id, certificate) = (target.id.clone(), world.release(&target.id, epoch));
                    world.peer(1, 0, PeerMessage::Released { id, certificate });
                    epoch += 1;
                }
                let (_, puts) = swap(&mut world, who, &at, &target, number, puts);
                number += 1;
                present.extend(puts.iter().cloned());
                all.extend(puts);
            }
            8 => {
                let away = 3;
                match at.len() {
                    4 => {
                        world.isolate(away);
                        at.pop();
                    }
                    _ => {
                        world.heal();
                        at.push(away);
                    }
                }
            }
            _ => {
                world.settled.insert(client.at, number);
                world.pass(Span::from_millis(200));
            }
        }
    }
    world.heal();
    world.settled.insert(client.at, number);
    if !all.is_empty() {
        for i in ALL {
            said(&mut world, &client, i, &all[0].clone());
        }
    }
    world.pass(Span::from_millis(60_000));
    (world, client, all)
}

/// A log from which any obsolete records were deleted, as far as they may be, leads to the replica that
/// the whole log leads to, and that one is as it was before.
#[test]
fn forget_any_shortened_log_leads_to_the_same_replica() {
    for seed in 0..100 {
        let (mut world, client, all) = live(seed);
        for at in [0, 3] {
            let before = picture(&mut world, &client, at, &all);
            let whole = world.log_of(at).to_vec();
            let mut dice = Dice(seed);
            for share in [0, 1, 2, 4] {
                world.prune(at, || dice.below(4) < share);
                world.isolate(at);
                world.restart_with(at, &[&client]);
                let told = world.wire.len();
                world.pass(Span::from_millis(3_000));
                let is_promise = |(by, _, m): &(u16, u16, PeerMessage)| {
                    *by == at && matches!(m, PeerMessage::Promise { .. })
                };
                let contests = world.wire[told..].iter().filter(|m| is_promise(m)).count();
                assert_eq!(contests, 0, "seed {seed}: an instance of nothing");
                let after = picture(&mut world, &client, at, &all);
                assert_eq!(before, after, "seed {seed}, replica {at}, share {share}");
            }
            assert!(world.log_of(at).len() <= whole.len());
            world.heal();
        }
    }
}

/// Numbers of records rise over restarts, also when the last ones are gone.
#[test]
fn forget_recovered_replica_names_what_is_obsolete_again() {
    let (world, _, _) = live(3);
    let mut out = Outputs::default();
    let log: Vec<(Lsn, Record)> = world.log_of(0).to_vec();
    let replica = Replica::recover(world.options_of(0), world.now, log, &mut out);
    replica.expect("a log of our own");
    let mut told: Vec<_> = world.obsolete_of(0).iter().map(|o| o.lsn).collect();
    let mut again: Vec<_> = out.obsolete.iter().map(|o| o.lsn).collect();
    told.sort_unstable();
    again.sort_unstable();
    // What a decision removed is needed again until peers say that it is stable.
    let is_content = |lsn: &Lsn| {
        let is_it = |(at, record): &&(Lsn, Record)| at == lsn && matches!(record, Record::Entry(_));
        world.log_of(0).iter().find(is_it).is_some()
    };
    let unsaid = told.iter().filter(|lsn| !again.contains(lsn));
    let unsaid: Vec<_> = unsaid.filter(|lsn| !is_content(lsn)).collect();
    assert!(unsaid.is_empty(), "not named again: {unsaid:?}");
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "named twice");
}
