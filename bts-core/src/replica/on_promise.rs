//! A peer entered a ballot (PROTOCOL section 5 rule 1).

use super::answer::Standing;
use super::stash::Stashed;
use super::{Outputs, Principal, Replica};
use crate::consensus::certificate::Certificate;
use crate::content::TakePayload;
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::Verified;
use crate::ids::{EntryId, Epoch, ReplicaId};
use crate::limits::TAKES_PER_INSTANCE_MAX;
use crate::message::{FetchKey, PeerMessage};
use crate::misbehavior::Forgery;

impl Replica {
    pub(super) fn on_promise(
        &mut self,
        from: ReplicaId,
        promise: SignedBytes,
        takes: Vec<SignedBytes>,
        released: Option<Certificate>,
        out: &mut Outputs,
    ) {
        let by = Principal::Replica(from);
        let signed = match self.verifier.signed_promise(promise.clone()) {
            Ok(signed) if signed.replica == from => signed,
            Ok(signed) => {
                return self.blame(by, Forgery::BadSignature(signed.promise.signer()), out);
            }
            Err(forgery) => return self.blame(by, forgery, out),
        };
        let (id, epoch) = (signed.promise.id.clone(), signed.promise.epoch);
        match self.standing(by, &id, epoch, released.clone(), out) {
            Standing::Current => {}
            Standing::Removed | Standing::Over => return self.tell_over(from, &id),
            Standing::Ahead => {
                return self.want_epoch(by, &id, epoch, out);
            }
        }
        let verified = self.takes_of(by, &id, epoch, &takes, TAKES_PER_INSTANCE_MAX + 1, out);
        let heard = self.hear(signed, verified.clone(), out);
        let lacking = verified.iter().filter(|take| !self.holds(take));
        let lacking: Vec<_> = lacking
            .map(|take| FetchKey::Content(id.clone(), take.content))
            .collect();
        if !heard && !lacking.is_empty() {
            let message = PeerMessage::Promise {
                promise,
                takes,
                released,
            };
            self.stash.keep(&id, Stashed::Peer(from, message));
        }
        // Also for a promise that counts: in the last epoch the owner and those who check its
        // choice must judge the same Takes.
        lacking.into_iter().for_each(|key| self.want(key, by, out));
    }

    /// The Takes of this instance among those that came with a message; others count as absent.
    pub(super) fn takes_of(
        &mut self,
        by: Principal,
        id: &EntryId,
        epoch: Epoch,
        takes: &[SignedBytes],
        limit: usize,
        out: &mut Outputs,
    ) -> Vec<Verified<TakePayload>> {
        let mut verified = Vec::new();
        for take in takes.iter().take(limit) {
            match self.verifier.take(take.clone()) {
                Ok(take) if take.id == *id && take.epoch == epoch => verified.push(take),
                Ok(_) => self.blame(by, Forgery::WrongInstance, out),
                Err(forgery) => self.blame(by, forgery, out),
            }
        }
        verified
    }
}
