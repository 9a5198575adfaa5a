//! Two honest replicas under one key, each seen by a part of the world: the strongest generic liar,
//! since both faces are plausible in everything they say.

use bts_core::ids::{ClientRef, ReplicaId};
use bts_core::replica::{Input, Options, Outgoing, Outputs};
use bts_core::time::Time;

use super::forge::ReplicaForge;
use super::gang::Gang;
use super::liar::{Core, message_of};
use crate::sim::machine::ReplicaMachine;
use crate::sim::rng::Rng;

/// The replica with two faces.
#[derive(Debug)]
pub struct TwoFaced {
    faces: [Core; 2],
    gang: Gang,
    /// Decides by hash who sees which face.
    salt: u64,
    /// How many of a thousand messages both faces hear.
    both_per_mille: u64,
    rng: Rng,
}

impl TwoFaced {
    /// Two cores with these options; `both_per_mille` of a thousand messages are heard by both.
    pub fn new(options: Options, gang: Gang, both_per_mille: u64, mut rng: Rng) -> Self {
        let forge = ReplicaForge::new(&options.configuration, options.id, options.key.clone());
        gang.lore().replicas.push(forge);
        Self {
            faces: [Core::new(options.clone()), Core::new(options)],
            gang,
            salt: rng.number(),
            both_per_mille,
            rng,
        }
    }

    fn face_for(&self, bytes: &[u8]) -> usize {
        let mix = |sum: u64, byte: &u8| Rng::new(sum ^ u64::from(*byte)).number();
        (bytes.iter().fold(self.salt, mix) & 1) as usize
    }

    fn face_for_client(&self, client: &ClientRef) -> usize {
        self.face_for(&client.key.0)
    }

    fn face_for_replica(&self, replica: ReplicaId) -> usize {
        self.face_for(&replica.0.to_le_bytes())
    }

    /// Which faces hear this.
    fn hearing(&mut self, input: &Input) -> [bool; 2] {
        let face = match input {
            Input::Client(client, _) => self.face_for_client(client),
            Input::Peer(replica, _) => self.face_for_replica(*replica),
            Input::ClientConnected(_)
            | Input::ClientGone(_)
            | Input::PeerConnected(..)
            | Input::PeerGone(_)
            | Input::Synced(_)
            | Input::Tick
            | Input::Frozen(_)
            | Input::Stop(_) => return [true, true],
        };
        let both = self.rng.chance(self.both_per_mille);
        [face == 0 || both, face == 1 || both]
    }
}

impl ReplicaMachine for TwoFaced {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        if let Some(message) = message_of(&input) {
            self.gang.learn(&message);
        }
        let hearing = self.hearing(&input);
        for face in (0..2).filter(|face| hearing[*face]) {
            for outgoing in self.faces[face].drive(now, input.clone()) {
                let seen_by = match &outgoing {
                    Outgoing::Client(client, _) => self.face_for_client(client),
                    Outgoing::Peer(replica, _) => self.face_for_replica(*replica),
                };
                if seen_by == face {
                    out.send.push(outgoing);
                }
            }
        }
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let deadlines = self.faces.iter().filter_map(Core::deadline);
        deadlines.min_by_key(|(at, _)| *at)
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.faces[self.face_for_replica(peer)].stream_next(peer)
    }
}
