//! Rules broken on purpose, one at a time, so that the checks can show that they would notice
//! (docs/verification.md, "Mutants"). This file is compiled only under `--cfg bts_mutants`, which
//! nothing but the command `mutants` of bts-tests sets; the programs refuse to be built with it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codec;
use crate::consensus::certificate::{Statement, Value};
use crate::content::TakePayload;
use crate::crypto::hash::Digest;
use crate::crypto::sign::Kind;
use crate::ids::{Ballot, ContentHash, EntryId, Epoch, Root, SpaceName};

/// Declares the mutants: name, the rule or attack it is about, and what it breaks.
macro_rules! mutants {
    ($($name:ident, $rule:literal, $breaks:literal;)*) => {
        /// A rule broken on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $breaks] $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The rule that it breaks.
            pub fn rule(self) -> &'static str {
                match self {
                    $(Self::$name => $rule,)*
                }
            }

            /// What it does, in words.
            pub fn breaks(self) -> &'static str {
                match self {
                    $(Self::$name => $breaks,)*
                }
            }
        }
    };
}

mutants! {
    // Sizes.
    AckQuorumLess, "R-1.1", "q - 1 replicas are a quorum";
    FastQuorumLess, "R-1.1", "F - 1 equal first votes decide";
    ForcedVotesMore, "R-1.1", "only T + 1 first votes force their Take";
    ForcedVotesLess, "R-1.1", "T - 1 first votes force their Take";
    PromiseQuorumLess, "R-1.1", "P - 1 promises are enough to propose";
    DoubtVotesMore, "R-1.1", "only R + 1 first votes put an entry in doubt";
    FactQuorumLess, "R-1.1", "what f replicas claim is a fact";

    // What an acceptor is bound by.
    FirstVoteTwice, "R-3.1", "a second first vote, for another Take";
    FirstVoteAfterPromise, "R-3.1", "a first vote after a higher ballot was promised";
    PrepareVoteTwice, "R-3.1", "two prepare votes in one ballot";
    LockIgnoresPromised, "R-5.4", "a lock is accepted below the promised ballot";
    LockReplacedByLower, "R-5.4", "votes and locks do not raise the promise, and a lower lock replaces a higher one";
    PrepareVotesDecide, "R-5.4", "F prepare votes decide, as if ballot 0 were not special";

    // Promises, and the value they permit.
    PromiseWithoutLock, "R-5.1b", "a promise does not tell the lock";
    PromiseWithoutFirst, "R-5.1b", "a promise does not tell the first vote";
    VotesBeforeLocks, "R-5.2", "first votes count more than a lock";
    LowestLockChosen, "R-5.2", "of several locks the lowest decides";
    ReleaseThoughVotes, "R-5.2", "Release is permitted although T first votes are there";
    ReleaseInLastEpoch, "R-5.2", "Release is permitted in the last epoch: epochs without end (B2)";
    PromisesNotDistinct, "R-5.2", "one replica's promise is counted twice";
    LockOfAnyInstance, "R-5.1c", "a promise shows a lock of another entry or epoch";

    // What a signature binds.
    VotesNotBoundToEpoch, "R-2.5", "a vote of one epoch is a vote of every epoch";
    VotesNotBoundToBallot, "R-2.5", "a vote of one ballot is a vote of every ballot";
    VotesNotBoundToSpace, "R-2.1", "a vote in one space is a vote in every space (G1)";
    VotesNotBoundToValue, "R-2.5", "a vote for one value is a vote for every value";
    TakesAlikeByNumber, "R-2.3", "a vote names a Take by its number, not by all of it (A3)";
    UnsignedTake, "R-2.2", "the signature of a Take is not checked";
    UnsignedVote, "R-2.5", "the signature of a vote is not checked";
    ForeignTake, "R-2.2", "a Take may name another client than its signer (A3)";
    VotersNotDistinct, "R-5.4", "one replica's vote is counted twice in a certificate";
    DecisionOfAnotherTake, "R-5.4", "a decision is believed whatever Take comes with it";

    // What a replica votes for and keeps.
    VoteWithoutContent, "R-4.3a", "a vote for an entry that is not held (A4)";
    PolicyNotAsked, "R-5.3", "a free choice may be a Take that the policy forbids (A4)";
    PutAlone, "R-4.2b", "a write-back stores a put without applying its decision (A7)";
    DescentIgnored, "R-4.5a", "a decision on a put is applied before that of its origin (C6)";
    RemovedNotKept, "R-4.1", "a removed entry is inserted again";
    OneContentRemoved, "R-2.4", "of two contents of one id only the taken one is removed (A2)";
    RemovalDropped, "R-4.5", "a decided swap puts, but does not remove";

    // None.
    NoneAfterRound1, "R-4.2d", "None without a second round";
    NoneCountsLateEmpty, "R-4.2d", "an \"empty\" that came after the sending of round 2 is counted in it (B4)";
    WatchNotBroken, "R-4.2d", "what came in between does not break a watch";
    PlainEmpty, "R-4.2e", "\"empty\" instead of \"empty but for D\" (A1)";
    StableUnasked, "R-4.2e", "the reader does not wait until D is stable (A1)";
    StableAfterRound2, "R-4.2e", "round 2 is sent before D is stable (A1)";
    StableAssumed, "R-4.2f", "a replica believes a decision stable when it applied it itself (C4)";
    AppliedUnapplied, "R-4.2f", "\"applied\" is said of a decision that waits for its origin";
    IndexUsedTooEarly, "R-4.2", "a read is answered from an index that is not whole yet";
    SparedNotAsked, "R-4.2g", "a read does not ask those that it spared, whatever the others said";

    // Lost memories.
    UsedUnremembered, "R-1.2", "a store is used as soon as one peer remembers it (A8)";
    LostMemoryWelcomed, "R-1.2", "a peer that lost its memory is welcomed (A8)";

    // Over a restart.
    SentBeforeSynced, "R-3.2", "votes and answers leave before what they depend on is stored (A9)";
    ForgottenUnsettled, "R-7.7", "a decision is forgotten before its winner knows of it (A5)";
    ForgottenTooEarly, "R-7.7", "a decision is forgotten though others have not logged it (A6)";
    ForgottenWithPuts, "R-7.7", "a decision is forgotten though a put of it is there (A6)";
    EndedVotedFor, "R-7.12", "a Take of a session that has ended gets a first vote";
    LivingEnded, "R-7.12", "a client ends sessions of its key that replicas see";
    ForeignEnd, "R-7.12", "any key may end a session of another";
    SkippedTooEasily, "R-7.3", "one peer that has forgotten an entry is believed (C1)";
    FirstVoteForgotten, "R-7.5", "a restart forgets first votes (A11)";
    PromiseForgotten, "R-7.5", "a restart forgets promises (A11)";
    PrepareVoteForgotten, "R-7.5", "a restart forgets prepare votes (A10)";
    LockForgotten, "R-7.5", "a restart forgets locks";

    // From one configuration to the next.
    GoneByOneWord, "R-7.9", "one export's word that an entry is gone is believed";
    DecisionOfFewDropped, "R-7.9", "a decision that fewer than f + 1 exports show is left out";
    EntryOfFewDropped, "R-7.9", "an entry that only f + 1 exports show is left out";
    NotConcluded, "R-7.9", "a Take that may have been decided is not concluded";
    TooFewExportsClose, "R-7.9", "P - 1 exports are asked what may have been decided";
    ReleaseReopened, "R-7.9", "an epoch that was released begins again";
    GonePutReturns, "R-7.9", "a put is present though f + 1 exports say that it is gone";
    GoneRootNotTold, "R-7.11", "the next configuration is not told which roots are gone";
    GoesOnAfterStop, "R-7.10", "a replica that has stopped goes on";
    BegunPassedOver, "R-7.11", "an operator founds anew though a replica has begun the next configuration";
    CarriedUnchecked, "R-7.11", "a carried certificate is believed wherever it leads";

    // Reads and takes.
    NoWriteBack, "R-4.2b", "what any replica reports is returned without a write-back";
    ReadIgnoresVotes, "R-4.2a", "reads do not look at first votes";
    ReadIgnoresLocks, "R-4.2a", "reads do not look at locks (C2)";
    ContentUnchecked, "R-4.2", "a content is believed without its hash";
    LeavesWithoutProof, "R-4.3b", "a taker leaves when f + 1 replicas voted for others";
    SwapReturnsAtDecision, "R-4.5", "a swap returns when it is decided, not when it is stable";
    ReservationHides, "R-4.3", "an entry reserved for another client is left out (B8)";

    // Progress.
    TimerNotStarted, "R-5.1a", "no timer runs for a Take whose client is gone";
    WindowWithoutCompany, "R-5.1a", "a replica climbs alone (D1)";
    FollowsOne, "R-5.1a", "one replica's promise draws the others along (B1)";
    PromiseNotRepeated, "R-5.1d", "a lost promise is not repeated (D2)";
    JoinsSilently, "R-5.1b", "a ballot is joined without a promise of one's own (G3)";
    MissedDecideNotAsked, "R-7.2", "a decision that was missed is never asked for (G5)";
    GivenUnverified, "R-7.1", "what a peer gives is stored without looking at its signature";
    UnlistedNotAsked, "R-7.6", "an entry that a peer does not list is never asked about";
    ComparedSameAlways, "R-7.6", "a replica that is compared with says that it holds the same";
    ReleaseWakesNobody, "R-4.4", "blocked operations are not told of a release (B6)";
    PutWakesNobody, "R-4.4", "blocked operations are not told of a put";
}

static ACTIVE: AtomicUsize = AtomicUsize::new(usize::MAX);

impl Mutant {
    /// Breaks this rule from now on, and no other. `None` mends all.
    pub fn activate(mutant: Option<Self>) {
        let number = mutant.map_or(usize::MAX, |mutant| mutant as usize);
        ACTIVE.store(number, Ordering::Relaxed);
    }

    /// True if this rule is broken.
    pub fn is_active(self) -> bool {
        ACTIVE.load(Ordering::Relaxed) == self as usize
    }
}

/// What the hash of a signed message binds of its payload, if part of it is left out.
pub(crate) fn bound_part(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let bound = match kind {
        Kind::First | Kind::Prepare | Kind::Commit => bound_part_of_vote(payload),
        Kind::Take => bound_part_of_take(payload),
        Kind::Entry | Kind::EndSession | Kind::Promise | Kind::Export | Kind::Carried => None,
    };
    bound.unwrap_or_else(|| payload.to_vec())
}

fn bound_part_of_vote(payload: &[u8]) -> Option<Vec<u8>> {
    let mut said: Statement = codec::decode_payload(payload).ok()?;
    if Mutant::VotesNotBoundToEpoch.is_active() {
        said.epoch = Epoch(0);
    }
    if Mutant::VotesNotBoundToBallot.is_active() {
        said.ballot = Ballot::ZERO;
    }
    if Mutant::VotesNotBoundToValue.is_active() {
        said.value = Value::Release;
    }
    if let (
        true,
        Root::Written {
            writer,
            session,
            seq,
            ..
        },
    ) = (
        Mutant::VotesNotBoundToSpace.is_active(),
        said.id.root().clone(),
    ) {
        let anywhere = SpaceName::new("anywhere").ok()?;
        said.id = EntryId::written(anywhere, writer, session, seq);
    }
    Some(codec::encode(&said))
}

fn bound_part_of_take(payload: &[u8]) -> Option<Vec<u8>> {
    let mut take: TakePayload = codec::decode_payload(payload).ok()?;
    if Mutant::TakesAlikeByNumber.is_active() {
        take.content = ContentHash(Digest([0; 32]));
        take.puts.clear();
    }
    Some(codec::encode(&take))
}
