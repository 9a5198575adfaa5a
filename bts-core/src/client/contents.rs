//! Contents that fit the hash that replicas report. If a quorum agrees on the hash, a correct replica
//! has verified what hashes to it, and the signature need not be checked again (PROTOCOL section 4,
//! rdp). Whoever relays a content verifies it first.

use crate::codec;
use crate::content::{Access, Content, Decision, EntryPayload, HeldContent, TakePayload, put_hash};
use crate::crypto::sign::{Kind, SignedBytes, SigningContext};
use crate::crypto::verified::Verifier;
use crate::ids::{ContentHash, EntryId, OpId, ReplicaId};
use crate::misbehavior::Forgery;
use crate::tuple::Tuple;

/// A content whose hash is known; its signature may be wrong.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    pub(super) tuple: Tuple,
    pub(super) access: Option<Access>,
    /// Who sent it, if it is not verified: the hash binds neither the signature of an entry nor the proof of a put, so
    /// those who reported the same hash answer for neither.
    pub(super) from: ReplicaId,
    content: Content,
    held: Option<HeldContent>,
}

impl Fitted {
    /// Decodes a content of this entry and computes its hash.
    pub(super) fn new(
        context: &SigningContext,
        id: &EntryId,
        from: ReplicaId,
        content: Content,
    ) -> Option<(ContentHash, Self)> {
        let (hash, tuple, access) = match &content {
            Content::Signed(signed) => entry(context, id, signed)?,
            Content::Put(decision) => put(context, id, decision)?,
        };
        let fitted = Self {
            tuple,
            access,
            from,
            content,
            held: None,
        };
        Some((hash, fitted))
    }

    /// A content that we hold ourselves.
    pub(super) fn of(held: &HeldContent) -> Self {
        Self {
            tuple: held.tuple.clone(),
            access: held.access.clone(),
            from: ReplicaId::default(),
            content: held.to_wire(),
            held: Some(held.clone()),
        }
    }

    /// The content with its signatures checked, which it takes to relay it.
    pub(super) fn verified(
        &mut self,
        verifier: &Verifier,
        id: &EntryId,
    ) -> Result<&HeldContent, Forgery> {
        let held = match self.held.take() {
            Some(held) => held,
            None => verifier.content(self.content.clone(), id)?,
        };
        Ok(self.held.insert(held))
    }
}

type Parts = (ContentHash, Tuple, Option<Access>);

fn entry(context: &SigningContext, id: &EntryId, signed: &SignedBytes) -> Option<Parts> {
    let leaf = context.leaf(Kind::Entry, &signed.signer, &signed.payload);
    let payload: EntryPayload = codec::decode_payload(&signed.payload).ok()?;
    (payload.id == *id).then_some((ContentHash(leaf), payload.tuple, payload.access))
}

fn put(context: &SigningContext, id: &EntryId, decision: &Decision) -> Option<Parts> {
    let (origin, index) = id.origin()?;
    let signed = decision.take.as_ref()?;
    let op = OpId(context.leaf(Kind::Take, &signed.signer, &signed.payload));
    let mut payload: TakePayload = codec::decode_payload(&signed.payload).ok()?;
    let place = usize::from(index);
    if payload.id != origin || place >= payload.puts.len() {
        return None;
    }
    let put = payload.puts.swap_remove(place);
    Some((put_hash(op, index), put.tuple, put.access))
}
