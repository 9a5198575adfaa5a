//! What a world is made of: sizes, keys, policy, times. Everything follows from it and a seed.

use std::sync::Arc;

use bts_core::configuration::{Configuration, Policy};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{ClientRef, ClusterId, Incarnation, PublicKey, ReplicaId, Session};
use bts_core::limits;
use bts_core::time::Span;
use bts_core::{client, replica};
use ed25519_dalek::SigningKey;

use super::network::Weather;
use super::rng::Rng;

/// Sizes, times and rights of a world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The seed of keys and of all chance.
    pub seed: u64,
    /// Replicas.
    pub replicas: u16,
    /// How many of them may be faulty.
    pub faults: usize,
    /// The rights of the clients.
    pub policy: Policy,
    /// The network.
    pub weather: Weather,
    /// Least and greatest time of a sync, in microseconds.
    pub sync_us: (u64, u64),
    /// How many of a thousand messages pass through the codec.
    pub encoded_per_mille: u64,
    /// How much clocks may run fast or slow, in thousandths.
    pub skew_per_mille: u64,
    /// The first window of a recovery.
    pub window: Span,
    /// How long an entry stays reserved.
    pub reservation: Span,
    /// When a client first repeats an unanswered request.
    pub resend: Span,
    /// With so many operations under way a client's reads ask a quorum at first.
    pub spare_from: usize,
    /// Entries that replicas look at in one go when they index a shape.
    pub index_slice: usize,
    /// Signatures that some machine of the world checked already.
    pub roots: VerifiedRoots,
    /// Candidates in one read.
    pub candidates: u8,
    /// For how long clients gather what one signature is to sign.
    pub gathers: Span,
    /// How many sessions of a key may be gone before others of it must end some.
    pub gone_sessions: usize,
    /// How long a session counts as present when it left.
    pub lingers: Span,
}

impl Setup {
    /// A cluster in calm weather: every message takes a millisecond, every sync half of one.
    pub fn calm(replicas: u16, faults: usize) -> Self {
        Self {
            seed: 0,
            replicas,
            faults,
            policy: Policy::default(),
            weather: Weather::calm(1000),
            sync_us: (500, 500),
            encoded_per_mille: 1000,
            skew_per_mille: 0,
            window: Span::from_millis(50),
            reservation: Span::from_millis(100),
            resend: Span::from_millis(50),
            spare_from: usize::MAX,
            index_slice: limits::INDEX_SLICE,
            roots: VerifiedRoots::default(),
            candidates: 4,
            gathers: Span::from_micros(0),
            gone_sessions: limits::GONE_SESSIONS_PER_CLIENT_MAX,
            lingers: Span::from_millis(limits::SESSION_LINGERS_MS),
        }
    }

    /// The configuration that all take part in.
    pub fn configuration(&self) -> Arc<Configuration> {
        let keys = (0..self.replicas).map(|number| public(&self.replica_key(number)));
        let cluster = ClusterId(Rng::new(self.seed ^ 0xc1).bytes());
        let configuration =
            Configuration::new(cluster, 1, keys.collect(), self.faults, self.policy.clone());
        Arc::new(configuration.expect("a legal size and distinct keys"))
    }

    /// The configuration with the same members that begins with what these proofs lead to.
    pub fn configuration_after(
        &self,
        ending: &Configuration,
        proofs: Digest,
    ) -> Result<Arc<Configuration>, String> {
        let keys = ending.replicas().map(|id| public(&self.replica_key(id.0)));
        let next = Configuration::founded(
            ending.signing_context().cluster,
            ending.number() + 1,
            keys.collect(),
            ending.size().faults(),
            ending.policy().clone(),
            Some(proofs),
        );
        next.map(Arc::new).map_err(|error| error.to_string())
    }

    /// The key of a replica.
    pub fn replica_key(&self, number: u16) -> SigningKey {
        key(self.seed, 1 << 32 | u64::from(number))
    }

    /// The key of a client.
    pub fn client_key(&self, number: usize) -> SigningKey {
        key(self.seed, 2 << 32 | number as u64)
    }

    /// What a replica is started with.
    pub fn replica_options(
        &self,
        configuration: &Arc<Configuration>,
        number: u16,
    ) -> replica::Options {
        replica::Options {
            id: ReplicaId(number),
            configuration: Arc::clone(configuration),
            key: self.replica_key(number),
            incarnation: incarnation(ReplicaId(number)),
            run: 0,
            window: self.window,
            reservation: self.reservation,
            limits: replica::Limits {
                open_votes_per_client: limits::OPEN_VOTES_PER_CLIENT_MAX,
                waiters_per_session: limits::WAITERS_PER_SESSION_MAX,
                live_contents_per_writer: limits::LIVE_CONTENTS_PER_WRITER_MAX,
                gone_sessions_per_client: self.gone_sessions,
                session_lingers: self.lingers,
                index_slice: self.index_slice,
            },
            roots: self.roots.clone(),
        }
    }

    /// What a client with this key is started with.
    pub fn client_options(
        &self,
        configuration: &Arc<Configuration>,
        key: SigningKey,
        session: Session,
    ) -> client::Options {
        client::Options {
            configuration: Arc::clone(configuration),
            key,
            session,
            candidates: self.candidates,
            resend: self.resend,
            spare_from: self.spare_from,
            roots: self.roots.clone(),
        }
    }
}

/// The identity of a replica's first store.
pub fn incarnation(id: ReplicaId) -> Incarnation {
    Incarnation(u64::from(id.0) + 1)
}

/// The public half of a key.
pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// The client of this key and session.
pub fn client_ref(key: &SigningKey, session: Session) -> ClientRef {
    ClientRef {
        key: public(key),
        session,
    }
}

fn key(seed: u64, number: u64) -> SigningKey {
    SigningKey::from_bytes(&Rng::new(seed.rotate_left(17) ^ number).bytes())
}
