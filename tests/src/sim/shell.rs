//! What the programs do around a replica (R-1.2, A8): whom it welcomes, and when it takes part. What they
//! decide by is the very code of `bts_core::memory`. A peer that was met is remembered on disk at once: a
//! welcome leaves later, so nobody sees a difference.

use std::collections::BTreeMap;

use bts_core::ids::{Lsn, ReplicaId};
use bts_core::memory::{Acquaintances, MemoryLoss, Opinion, Presented, Standing, Welcomes};
use bts_core::quorum::ClusterSize;
use bts_core::replica::Input;

use super::disk::Disk;
use super::network::Link;
use super::node::Node;
use super::schedule::Event;
use super::world::{ReplicaNode, World};

/// How often what peers told of their logs is stored, when something else is. Runs are short.
const POSITIONS_US: u64 = 100_000;
/// After how long one that was refused tries again.
const REDIAL_US: u64 = 250_000;

/// The program around one replica that lies to nobody.
#[derive(Debug)]
pub(super) struct Shell {
    run: u64,
    met: Acquaintances,
    welcomes: Welcomes,
    standing: Standing,
    /// Peers that welcomed it, with where its stream goes on.
    connected: BTreeMap<ReplicaId, u64>,
    positions_noted_us: u64,
}

impl Shell {
    /// Of a replica that starts with this disk.
    pub(super) fn started(size: ClusterSize, disk: &Disk, run: u64) -> Self {
        let mut shell = Self {
            run,
            met: Acquaintances::new(disk.peers().clone()),
            welcomes: Welcomes::new(size),
            standing: Standing::of_store(disk.is_confirmed()),
            connected: BTreeMap::new(),
            positions_noted_us: 0,
        };
        // Who has no peers is remembered by all of them.
        let alone = shell.standing.judged(shell.welcomes.opinion());
        debug_assert!(!alone, "no new store is alone");
        shell
    }

    /// Of a replica that has been running, with these peers, since before the world began.
    pub(super) fn settled(size: ClusterSize, disk: &Disk) -> Self {
        let mut shell = Self::started(size, disk, 0);
        shell.standing.confirmed();
        shell
    }

    /// Whether its machine is given anything but orders to stop.
    pub(super) fn takes_part(&self) -> bool {
        self.standing.takes_part()
    }

    /// Whether it knows that its store has lost something.
    pub(super) fn is_disowned(&self) -> bool {
        self.standing == Standing::Disowned
    }

    /// What of this the machine hears.
    fn pass(&mut self, input: Input) -> Option<Input> {
        match input {
            Input::PeerConnected(peer, next) => {
                self.connected.insert(peer, next);
            }
            Input::PeerGone(peer) => {
                self.connected.remove(&peer);
            }
            Input::Stop(_) | Input::Synced(_) | Input::Frozen(_) => return Some(input),
            Input::ClientConnected(_)
            | Input::ClientGone(_)
            | Input::Client(..)
            | Input::Peer(..)
            | Input::Tick => {}
        }
        self.takes_part().then_some(input)
    }

    /// Peers forget what they knew of each other's logs.
    pub(super) fn forget_positions(&mut self, disk: &mut Disk) {
        disk.forget_positions();
        self.met = Acquaintances::new(disk.peers().clone());
    }
}

impl ReplicaNode {
    /// What it says of its store. A liar says whatever is welcome.
    fn presented(&self) -> Option<Presented> {
        let shell = self.shell.as_ref()?;
        Some(Presented {
            incarnation: self.disk.incarnation(),
            position: self.disk.position(),
            run: shell.run,
        })
    }

    /// Whether it goes on with this peer.
    fn meets(&mut self, peer: ReplicaId, presented: Option<Presented>) -> Result<(), MemoryLoss> {
        let (Some(shell), Some(presented)) = (&mut self.shell, presented) else {
            return Ok(());
        };
        shell.met.meet(peer, presented)?;
        if let Some(news) = shell.met.news() {
            self.disk.remember(news);
        }
        Ok(())
    }

    /// How far the logs of peers are durable, as they told, goes with a write now and then.
    pub(super) fn note_positions(&mut self, now_us: u64) {
        let Some(shell) = &mut self.shell else {
            return;
        };
        if now_us < shell.positions_noted_us + POSITIONS_US {
            return;
        }
        shell.positions_noted_us = now_us;
        for peer in shell.connected.keys() {
            let told = self.machine.stream_next(*peer).saturating_sub(1);
            shell.met.hear(*peer, Lsn(told));
        }
        if let Some(news) = shell.met.news() {
            self.disk.note(news);
        }
    }
}

impl World {
    /// Whether the programs at both ends of a new connection go on after their greetings.
    pub(super) fn is_welcome(&mut self, link: Link) -> bool {
        match link {
            (Node::Replica(from), Node::Replica(to)) => {
                let goes_on = self.greet(from, to);
                if !goes_on {
                    let at_us = self.now_us() + REDIAL_US;
                    self.plan(at_us, Event::Connect(link));
                }
                goes_on
            }
            (Node::Client(_), Node::Replica(to)) => {
                let shell = self.replicas[&to].shell.as_ref();
                let is_served = shell.is_none_or(Shell::takes_part);
                if !is_served {
                    self.unserved.insert(link);
                }
                is_served
            }
            (_, Node::Client(_)) => unreachable!("nobody dials a client"),
        }
    }

    fn greet(&mut self, from: ReplicaId, to: ReplicaId) -> bool {
        let (dialler, listener) = (
            self.replicas[&from].presented(),
            self.replicas[&to].presented(),
        );
        let mut meet = |who, whom, presented| match self.replicas.get_mut(&who) {
            Some(node) => node.meets(whom, presented),
            None => Ok(()),
        };
        if let Err(loss) = meet(to, from, dialler) {
            self.on_refused(to, from, &loss);
            let shell = self.replicas.get_mut(&from).and_then(|n| n.shell.as_mut());
            if let Some(opinion) = shell.map(|shell| shell.welcomes.disowned_by(to)) {
                self.judge(from, opinion);
            }
            return false;
        }
        if let Err(loss) = meet(from, to, listener) {
            self.on_refused(from, to, &loss);
            return false;
        }
        true
    }

    fn on_refused(&mut self, by: ReplicaId, whom: ReplicaId, loss: &MemoryLoss) {
        self.trace
            .line(self.now_us(), || format!("{by} refuses {whom}: {loss}"));
        if !self.replicas[&whom].lost {
            self.violation(format!("{by} refuses {whom}, which lost nothing: {loss}"));
        }
    }

    /// Lets the program around a replica look at what happens to it first; the rest is for the machine.
    pub(super) fn through_shell(&mut self, id: ReplicaId, input: Input) -> Option<Input> {
        let node = self.replicas.get_mut(&id).filter(|node| node.alive)?;
        let Some(shell) = &mut node.shell else {
            return Some(input);
        };
        let welcomed_by = match &input {
            Input::PeerConnected(peer, _) => Some(*peer),
            _ => None,
        };
        let input = shell.pass(input);
        if let Some(peer) = welcomed_by {
            let opinion = shell.welcomes.welcomed_by(peer);
            self.judge(id, opinion);
        }
        input
    }

    /// A replica learns what its peers think of its store.
    fn judge(&mut self, id: ReplicaId, opinion: Opinion) {
        let Some(node) = self.replicas.get_mut(&id) else {
            return;
        };
        let Some(shell) = &mut node.shell else {
            return;
        };
        let before = shell.standing;
        if shell.standing.judged(opinion) {
            node.disk.confirm();
            shell.standing.confirmed();
        }
        let after = shell.standing;
        if before == after {
            return;
        }
        self.trace
            .line(self.now_us(), || format!("{id}: {after:?}"));
        match after {
            Standing::Starting { .. } => {}
            Standing::Ready => self.begin_to_take_part(id),
            Standing::Disowned => self.observer.coverage.mark("disowned"),
        }
    }

    /// Enough peers remember the store of a replica that takes part, durably: were it lost, they would be too
    /// many for it to take part again with another (A8). Those that may be faulty are taken to.
    fn demand_remembered(&mut self, id: ReplicaId) {
        let own = self.replicas.get(&id).map(|node| node.disk.incarnation());
        let remembers = |(other, node): &(&ReplicaId, &ReplicaNode)| {
            let known = node.disk.peers().get(&id).map(|known| known.incarnation);
            let is_faulty = !node.honest || node.lost || node.shell.is_none();
            **other != id && (is_faulty || known == own)
        };
        let count = self.replicas.iter().filter(remembers).count();
        let needed = self.configuration.size().promise_quorum();
        if count + 1 < needed {
            let what = format!("{id} takes part, and {count} peers remember it");
            self.violation(what);
        }
    }

    /// The machine hears of the peers that are there, and clients are let in.
    fn begin_to_take_part(&mut self, id: ReplicaId) {
        self.demand_remembered(id);
        let shell = self.replicas.get(&id).and_then(|node| node.shell.as_ref());
        let connected = shell.map_or_else(BTreeMap::new, |shell| shell.connected.clone());
        for (peer, next) in connected {
            self.drive_machine(id, Input::PeerConnected(peer, next));
        }
        let all = std::mem::take(&mut self.unserved);
        let (these, others) = all
            .into_iter()
            .partition(|link| link.1 == Node::Replica(id));
        self.unserved = others;
        self.dial_all(these);
    }
}
