//! Verified entries at rest. A replica may hold millions of them and reads few: each is kept as the bytes
//! that were signed, once, without what its neighbours hold as well, and taken apart again when
//! somebody asks for it.

use std::sync::Arc;

use super::batch::PathStep;
use super::hash::Digest;
use super::sign::{Seal, SignedBytes};
use super::verified::Verified;
use crate::codec;
use crate::content::{Access, EntryPayload};
use crate::ids::{ContentHash, EntryId, IdParts, Seq};
use crate::replica::ranges::WriterSession;
use crate::tuple::Tuple;

/// A verified entry. Only [`PackedEntry::pack`] makes one, from what was verified.
#[derive(Debug)]
pub(crate) struct PackedEntry {
    /// Who wrote it where; shared by all that this session wrote there.
    session: Arc<WriterSession>,
    seq: Seq,
    leaf: Digest,
    /// A byte of [`Layout`], the signature, the path, and the payload.
    bytes: Box<[u8]>,
}

const SIGNATURE_BYTES: usize = 64;
const STEP_BYTES: usize = 33;

/// What the first byte says.
#[derive(Clone, Copy)]
struct Layout {
    /// Steps of the path to the root of its batch, at most 32.
    steps: usize,
    /// The payload begins with the id, as this program encodes it, and that beginning is left out.
    /// What others encode may differ, and is kept as it was signed.
    id_left_out: bool,
}

impl Layout {
    const ID_LEFT_OUT: u8 = 0x80;

    fn byte(self) -> u8 {
        let steps = u8::try_from(self.steps).expect("a verified path is short");
        match self.id_left_out {
            true => steps | Self::ID_LEFT_OUT,
            false => steps,
        }
    }

    fn of(byte: u8) -> Self {
        Self {
            steps: usize::from(byte & !Self::ID_LEFT_OUT),
            id_left_out: byte & Self::ID_LEFT_OUT != 0,
        }
    }
}

/// What follows the id in a payload.
type Body = (Tuple, Option<u64>, Option<Access>);

/// The parts of the bytes.
struct Parts<'a> {
    signature: &'a [u8; SIGNATURE_BYTES],
    path: &'a [u8],
    /// The payload, or what follows the id in it.
    rest: &'a [u8],
    id_left_out: bool,
}

impl Parts<'_> {
    fn body(&self) -> Option<Body> {
        if self.id_left_out {
            return codec::decode_payload(self.rest).ok();
        }
        let value: EntryPayload = codec::decode_payload(self.rest).ok()?;
        Some((value.tuple, value.expiry, value.access))
    }
}

impl PackedEntry {
    /// Packs an entry. `session` is that of its id, and `encoded_id` the id as this program encodes it.
    pub(crate) fn pack(
        entry: &Verified<EntryPayload>,
        session: Arc<WriterSession>,
        encoded_id: &[u8],
    ) -> Self {
        let seq = session.seq_of(&entry.id).expect("its session, and a root");
        assert_eq!(
            session.writer,
            entry.signer(),
            "an entry is signed by its writer"
        );
        let SignedBytes { payload, seal, .. } = entry.signed();
        let rest = payload.strip_prefix(encoded_id);
        let layout = Layout {
            steps: seal.path.len(),
            id_left_out: rest.is_some(),
        };
        let rest = rest.unwrap_or(payload);
        let length = 1 + SIGNATURE_BYTES + layout.steps * STEP_BYTES + rest.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.push(layout.byte());
        bytes.extend(seal.signature);
        for step in &seal.path {
            bytes.push(u8::from(step.left));
            bytes.extend(step.sibling.0);
        }
        bytes.extend(rest);
        Self {
            session,
            seq,
            leaf: entry.leaf(),
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// The entry as it was.
    pub(crate) fn unpack(&self) -> Verified<EntryPayload> {
        let id = self.id();
        let (signed, body) = self.apart(&id).expect("they were packed here");
        let (tuple, expiry, access) = body;
        let value = EntryPayload {
            id,
            tuple,
            expiry,
            access,
        };
        Verified::restored(value, signed, self.leaf)
    }

    /// Its tuple, and who may read and take it.
    pub(crate) fn body(&self) -> (Tuple, Option<Access>) {
        let parts = self.parts().expect("they were packed here");
        let (tuple, _expiry, access) = parts.body().expect("they were packed here");
        (tuple, access)
    }

    fn parts(&self) -> Option<Parts<'_>> {
        let (layout, rest) = self.bytes.split_first()?;
        let layout = Layout::of(*layout);
        let (signature, rest) = rest.split_first_chunk()?;
        let (path, rest) = rest.split_at_checked(layout.steps * STEP_BYTES)?;
        Some(Parts {
            signature,
            path,
            rest,
            id_left_out: layout.id_left_out,
        })
    }

    fn apart(&self, id: &EntryId) -> Option<(SignedBytes, Body)> {
        let parts = self.parts()?;
        let step = |step: &[u8]| {
            let (left, sibling) = step.split_first()?;
            Some(PathStep {
                left: *left != 0,
                sibling: Digest(sibling.try_into().ok()?),
            })
        };
        let mut payload = match parts.id_left_out {
            true => codec::encode(id),
            false => Vec::new(),
        };
        payload.extend(parts.rest);
        let seal = Seal {
            signature: *parts.signature,
            path: parts
                .path
                .chunks(STEP_BYTES)
                .map(step)
                .collect::<Option<_>>()?,
        };
        let signed = SignedBytes {
            payload,
            signer: self.session.writer,
            seal,
        };
        Some((signed, parts.body()?))
    }

    /// Shares what is known of its session with others.
    pub(crate) fn share_session(&mut self, same: Arc<WriterSession>) {
        debug_assert_eq!(self.session, same, "it is its session");
        self.session = same;
    }

    /// Whose entry it is.
    pub(crate) fn session(&self) -> &Arc<WriterSession> {
        &self.session
    }

    /// Which entry of it.
    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }

    /// Its id.
    pub(crate) fn id(&self) -> EntryId {
        self.session.id(self.seq.0)
    }

    /// What its id is made of.
    pub(crate) fn id_parts(&self) -> IdParts<'_> {
        self.session.id_parts(self.seq)
    }

    /// Its content hash.
    pub(crate) fn hash(&self) -> ContentHash {
        ContentHash(self.leaf)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::crypto::sign::{Kind, Signer, SigningContext};
    use crate::ids::{ClusterId, PublicKey, Session, SpaceName};

    fn signer() -> Signer {
        let context = SigningContext {
            cluster: ClusterId([1; 32]),
            configuration: Digest([2; 32]),
        };
        Signer::new(SigningKey::from_bytes(&[3; 32]), context)
    }

    fn entry(writer: PublicKey, access: Option<Access>) -> EntryPayload {
        let space = SpaceName::new("jobs").expect("a good name");
        EntryPayload {
            id: EntryId::written(space, writer, Session(1 << 50), Seq(300)),
            tuple: [7_u64.into(), "seven".into()].into_iter().collect(),
            expiry: None,
            access,
        }
    }

    /// Packs and unpacks, and returns the bytes that were kept.
    fn through(value: EntryPayload, payload: Vec<u8>, seal: Seal, signer: PublicKey) -> usize {
        let signed = SignedBytes {
            payload,
            signer,
            seal,
        };
        let (session, seq) = WriterSession::of(&value.id).expect("a root");
        let leaf = Digest([9; 32]);
        let before = Verified::restored(value.clone(), signed.clone(), leaf);
        let packed = PackedEntry::pack(&before, Arc::new(session), &codec::encode(&value.id));
        let after = packed.unpack();
        assert_eq!((&*after, after.signed()), (&value, &signed));
        assert_eq!((after.leaf(), after.signer()), (leaf, signer));
        assert_eq!((packed.id(), packed.seq), (value.id.clone(), seq));
        assert_eq!(
            (packed.body(), packed.id_parts()),
            (
                (value.tuple.clone(), value.access.clone()),
                value.id.parts()
            )
        );
        packed.bytes.len()
    }

    #[test]
    fn packed_entry_is_what_it_was() {
        let signer = signer();
        let keys = Some(vec![signer.public(); 3]);
        let access = Access {
            read: keys,
            take: Some(Vec::new()),
        };
        for access in [None, Some(access)] {
            let value = entry(signer.public(), access);
            let payload = codec::encode(&value);
            let one = (Kind::Entry, payload.as_slice());
            for batch in [1, 2, 7] {
                for seal in signer.seal(&vec![one; batch]) {
                    let steps = seal.path.len();
                    let kept = through(value.clone(), payload.clone(), seal, signer.public());
                    let id = codec::encode(&value.id).len();
                    let expected = 1 + SIGNATURE_BYTES + steps * STEP_BYTES + payload.len() - id;
                    assert_eq!(kept, expected, "the id is left out");
                }
            }
        }
    }

    /// The format lets small numbers be written long, and what is signed is never encoded again.
    #[test]
    fn packed_entry_keeps_bytes_that_nobody_here_would_write() {
        let signer = signer();
        let value = entry(signer.public(), None);
        let mut payload = codec::encode(&value);
        assert_eq!(payload[0], 0, "the variant of a root");
        payload.splice(0..1, [251, 0, 0]);
        let decoded: EntryPayload = codec::decode_payload(&payload).expect("long, but legal");
        assert_eq!(decoded, value);
        let seal = signer.seal(&[(Kind::Entry, &payload)]).remove(0);
        let kept = through(value, payload.clone(), seal, signer.public());
        assert_eq!(kept, 1 + SIGNATURE_BYTES + payload.len());
    }
}
