//! every bound of the system, in one place. A bound that is reached is answered with `Refused`,
//! never with silence or an allocation; the ones that belong together are checked at compile time.

/// Replicas of a cluster.
pub const REPLICAS_MAX: usize = 40;
/// Bytes of a space's name.
pub const SPACE_NAME_BYTES_MAX: usize = 64;
/// Fields of a tuple or a template.
pub const FIELDS_MAX: usize = 64;
/// Encoded bytes of one tuple or template.
pub const TUPLE_BYTES_MAX: usize = 64 * 1024;
/// Puts of one Take.
pub const PUTS_MAX: usize = 16;
/// Encoded bytes of all puts of one Take together.
pub const PUTS_BYTES_MAX: usize = 128 * 1024;
/// Keys in one access list.
pub const ACCESS_KEYS_MAX: usize = 64;
/// Runs in the path of an entry id (PROTOCOL section 2).
pub const PATH_RUNS_MAX: usize = 32;
/// Steps of a Merkle path, so at most 2^32 messages share one signature.
pub const MERKLE_PATH_MAX: usize = 32;
/// Highest epoch; `Release` is not a value of it (PROTOCOL section 5).
pub const EPOCH_MAX: u8 = 3;
/// Bytes of one frame between a client and a replica.
pub const CLIENT_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one frame between two replicas.
pub const PEER_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Candidates in one read reply.
pub const CANDIDATES_MAX: usize = 16;
/// Decisions in one "empty but for D" reply; more, or longer ones together than
/// [`REPLY_BYTES_MAX`], are told as "not empty".
pub const MOVED_MAX: usize = 64;
/// Bytes of full contents, locks and decisions in one reply, besides the first of them.
pub const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Entries looked at for one read, uncontested ones being preferred.
pub const SCAN_MAX: usize = 128;
/// Template shapes indexed per space; the least recently used is dropped.
pub const SHAPES_MAX: usize = 64;
/// Entries looked at in one go when a shape is indexed, long ones counting for several; nothing else is done
/// meanwhile.
pub const INDEX_SLICE: usize = 512;
/// Reads of one client key that wait until the shape of their template is indexed.
pub const READS_KEPT_PER_CLIENT_MAX: usize = 256;
/// Entries in one page of a listing.
pub const PAGE_ENTRIES_MAX: usize = 256;

/// Undecided first votes that a replica gives to one client key.
pub const OPEN_VOTES_PER_CLIENT_MAX: usize = 1024;
/// Unsettled Takes of a session.
pub const UNSETTLED_TAKES_MAX: u64 = 4096;
/// Blocked `rd` and `in` of one session at a replica.
pub const WAITERS_PER_SESSION_MAX: usize = 1024;
/// Watches of one session at a replica; the oldest is dropped.
pub const WATCHES_PER_SESSION_MAX: usize = 4096;
/// Reservations of one session at a replica.
pub const RESERVATIONS_PER_SESSION_MAX: usize = 256;
/// Contents stored for one writer key and not yet removed.
pub const LIVE_CONTENTS_PER_WRITER_MAX: usize = 4_000_000;
/// Contents of one id that a replica takes from their writer: two prove it faulty, more teach
/// nothing. What a reader writes back is not refused, or nobody could read or miss the entry.
pub const CONTENTS_PER_ID_MAX: usize = 4;
/// Contents named in one status, the newest ones and the one asked about.
pub const CONTENTS_PER_STATUS_MAX: usize = 64;
/// Takes known per instance: that of the own first vote, the least, and one more.
pub const TAKES_PER_INSTANCE_MAX: usize = 3;
/// Takes named in one Promise.
pub const TAKES_PER_PROMISE_MAX: usize = 2;
/// Messages kept per sender until what they lack has been fetched; the oldest makes room.
pub const STASHED_PER_SENDER_MAX: usize = 64;
/// Fetches a replica has open on account of one peer or client key.
pub const FETCHES_PER_SENDER_MAX: usize = 4096;
/// Kept evidence of misbehaviour, one pair per accused and kind.
pub const EVIDENCE_MAX: usize = 256;
/// Sessions connected per client key.
pub const SESSIONS_PER_CLIENT_MAX: usize = 1024;
/// Sessions of one key that are gone, have not ended, and won what is kept: at that many no further one gets a
/// first vote.
pub const GONE_SESSIONS_PER_CLIENT_MAX: usize = 1024;
/// How long a session counts as present after its last connection ended, in milliseconds.
pub const SESSION_LINGERS_MS: u64 = 60_000;
/// Ends of sessions that won nothing that is kept, per key; the oldest is dropped.
pub const ENDED_SESSIONS_PER_CLIENT_MAX: usize = 64;
/// Sessions that a client ends at once.
pub const SESSIONS_ENDED_AT_ONCE_MAX: usize = 64;
/// Applied decisions told to a peer in one message.
pub const APPLIED_BATCH_MAX: usize = 512;
/// Contents in one slice of what two replicas compare.
pub const COMPARED_ITEMS_MAX: usize = 1024;
/// Contents of one entry that are compared, those of the least hashes: only who signs several for
/// one id makes more.
pub const COMPARED_CONTENTS_MAX: usize = 64;
/// Records in one part of an export, or of what a configuration begins with.
pub const RECORDS_PER_PART_MAX: usize = 32 * 1024;
/// Signature roots remembered as verified.
pub const VERIFIED_ROOTS_MAX: usize = 16 * 1024;

const _: () = assert!(TUPLE_BYTES_MAX <= PUTS_BYTES_MAX);
const _: () = assert!(
    REPLY_BYTES_MAX + 2 * (PUTS_BYTES_MAX + TUPLE_BYTES_MAX) + 256 * 1024 < CLIENT_FRAME_BYTES_MAX
);
/// The longest Propose: with f = 0 the promises of all `n`, in each a lock with the votes of all
/// `n` and two Takes as large as Takes get, written as wastefully as the format allows.
const PROPOSE_BYTES_MAX: usize =
    REPLICAS_MAX * (TAKES_PER_PROMISE_MAX * (PUTS_BYTES_MAX + 40 * 1024) + REPLICAS_MAX * 1200);
const _: () = assert!(PROPOSE_BYTES_MAX < PEER_FRAME_BYTES_MAX);
/// The longest list of what is held: an id has a space, a key, two numbers and a path.
const COMPARED_BYTES_MAX: usize =
    COMPARED_ITEMS_MAX * (SPACE_NAME_BYTES_MAX + 64 + PATH_RUNS_MAX * 8 + 64);
const _: () = assert!(COMPARED_BYTES_MAX < PEER_FRAME_BYTES_MAX);
const _: () = assert!(COMPARED_CONTENTS_MAX < COMPARED_ITEMS_MAX);
