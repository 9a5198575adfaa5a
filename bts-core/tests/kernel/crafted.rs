//! R-2.5 (A12) One predicate decides what a valid signature is. Signatures crafted so that plain
//! Ed25519 verification takes them, and signatures that only a cache would take, are refused by
//! everybody.

use std::sync::Arc;

use bts_core::codec;
use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{SealedVote, Statement, Value, VoteKind};
use bts_core::crypto::sign::{Kind, PROTOCOL_VERSION, Seal};
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{ClusterId, PublicKey, ReplicaId};
use bts_core::misbehavior::Forgery;
use ed25519_dalek::{Signature, SigningKey, Verifier as _, VerifyingKey};
use sha2::{Digest as _, Sha512};

use crate::support::{Cluster, id_in, public_key, some_op, statement};

/// The neutral element of the curve, as it is encoded.
const NEUTRAL: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

fn said() -> Statement {
    let id = id_in("jobs", PublicKey([7; 32]), 1);
    statement(&id, 0, 0, Value::Take(some_op(1)))
}

/// The bytes that are signed for a batch of one.
fn root_message(configuration: &Configuration, signer: &PublicKey, payload: &[u8]) -> Vec<u8> {
    let leaf = configuration
        .signing_context()
        .leaf(Kind::First, signer, payload);
    [b"BTS batch root 1".as_slice(), &leaf.0].concat()
}

fn vote_with(signature: [u8; 64], replica: u16) -> SealedVote {
    SealedVote {
        kind: VoteKind::First,
        payload: codec::encode(&said()),
        replica: ReplicaId(replica),
        seal: Seal {
            signature,
            path: Vec::new(),
        },
    }
}

/// A faulty replica chooses the nonce 0, so that the point R is the neutral element:
/// `s = H(R, A, M) a` satisfies the equation, and only the strict rule refuses it.
#[test]
fn signature_a12_with_a_small_order_point_is_refused() {
    let cluster = Cluster::of_four();
    let key = SigningKey::from_bytes(&[3; 32]);
    assert_eq!(public_key(&key), cluster.key(3));
    let message = root_message(
        &cluster.configuration,
        &cluster.key(3),
        &codec::encode(&said()),
    );
    let hash = Sha512::new()
        .chain_update(NEUTRAL)
        .chain_update(cluster.key(3).0)
        .chain_update(&message)
        .finalize();
    // H a, by doubling: the scalar type has no constructor from 64 bytes within reach.
    let mut power = key.to_scalar();
    let mut product = power - power;
    for bit in 0..512 {
        if hash[bit / 8] >> (bit % 8) & 1 == 1 {
            product += power;
        }
        power += power;
    }
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&NEUTRAL);
    signature[32..].copy_from_slice(product.as_bytes());

    let plain = key
        .verifying_key()
        .verify(&message, &Signature::from_bytes(&signature));
    assert!(
        plain.is_ok(),
        "the attack is real: plain verification takes it"
    );
    assert_eq!(
        cluster.verifier.vote(vote_with(signature, 3)),
        Err(Forgery::BadSignature(cluster.key(3)))
    );
}

/// A key of small order makes `R = sB` a signature of any message whatever.
#[test]
fn signature_a12_by_a_small_order_key_is_refused() {
    let mut keys: Vec<_> = (0..3)
        .map(|i| public_key(&SigningKey::from_bytes(&[i; 32])))
        .collect();
    let weak = PublicKey(NEUTRAL);
    keys.push(weak);
    let configuration =
        Configuration::new(ClusterId([9; 32]), 1, keys, 1, Policy::default()).unwrap();
    let message = root_message(&configuration, &weak, &codec::encode(&said()));
    let any = SigningKey::from_bytes(&[50; 32]);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&public_key(&any).0);
    signature[32..].copy_from_slice(any.to_scalar().as_bytes());

    let key = VerifyingKey::from_bytes(&weak.0).unwrap();
    let plain = key.verify(&message, &Signature::from_bytes(&signature));
    assert!(
        plain.is_ok(),
        "the attack is real: plain verification takes it"
    );
    let verifier = Verifier::new(Arc::new(configuration));
    assert_eq!(
        verifier.vote(vote_with(signature, 3)),
        Err(Forgery::BadSignature(weak))
    );
}

/// Adding the group order to `s` gives a second signature of the same message in sloppy libraries.
#[test]
fn signature_a12_is_not_malleable() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let cluster = Cluster::of_four();
    let mut signature = cluster.vote(0, VoteKind::First, &said()).seal.signature;
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(
        cluster.verifier.vote(vote_with(signature, 0)),
        Err(Forgery::BadSignature(cluster.key(0)))
    );
}

/// The root of a valid vote is remembered. The same vote with a garbage signature must not pass on
/// that account: it would be valid here and forged for everybody else, and who relays it blamed.
#[test]
fn signature_a12_known_root_does_not_excuse_another_signature() {
    let cluster = Cluster::of_four();
    let vote = cluster.vote(2, VoteKind::First, &said());
    assert!(cluster.verifier.vote(vote.clone()).is_ok());
    let mut forged = vote;
    forged.seal.signature = [0; 64];
    let bad = Forgery::BadSignature(cluster.key(2));
    assert_eq!(cluster.verifier.vote(forged.clone()), Err(bad.clone()));

    let mut certificate = cluster.certificate(VoteKind::First, &said(), 0..4);
    assert!(cluster.verifier.certificate(certificate.clone()).is_ok());
    certificate.votes[2].1 = forged.seal;
    assert_eq!(cluster.verifier.certificate(certificate), Err(bad));
}

#[test]
fn signature_of_a_batch_is_checked_once() {
    let cluster = Cluster::of_four();
    let payloads: Vec<_> = (0..10)
        .map(|epoch| {
            codec::encode(&statement(
                &said().id,
                epoch % 4,
                0,
                Value::Take(some_op(epoch)),
            ))
        })
        .collect();
    let messages: Vec<_> = payloads
        .iter()
        .map(|bytes| (Kind::First, bytes.as_slice()))
        .collect();
    let seals = cluster.replicas[1].seal(&messages);
    for (payload, seal) in payloads.into_iter().zip(seals) {
        let (kind, replica) = (VoteKind::First, ReplicaId(1));
        let vote = SealedVote {
            kind,
            payload,
            replica,
            seal,
        };
        assert!(cluster.verifier.vote(vote.clone()).is_ok());
        assert!(cluster.verifier.vote(vote).is_ok());
    }
    assert_eq!(cluster.verifier.checks(), 1);
    assert_eq!(
        PROTOCOL_VERSION, 1,
        "the version that these signatures bind"
    );
}
