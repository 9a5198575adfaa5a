//! What operators and replicas say to each other at the end of a configuration and at the beginning of
//! the next. The shells speak it; the core only stops.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crypto::hash::Digest;
use crate::crypto::sign::SignedBytes;
use crate::limits::RECORDS_PER_PART_MAX;

/// What an operator asks, on a connection of its own. Each is answered by one [`AdminReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// In which configuration are you? Answer: `Standing`.
    Standing,
    /// Stop for good in this configuration. Answer: `Standing`, at once; the connection ends
    /// when the stop is durable.
    Stop {
        /// The configuration that ends, so that an order that comes late does not end the next.
        configuration: Digest,
        /// What for. It stops for one purpose only.
        purpose: Digest,
    },
    /// Sign all that you hold. Answer: `Sealed`, from one that has stopped.
    Seal,
    /// Give me your records after so many. Answer: `Records`, from one that has stopped.
    Records {
        /// How many the asker has.
        skip: u64,
    },
    /// Get ready to begin with what follows, in the configuration that this cluster file describes.
    /// What was sent for an earlier beginning is dropped. Answer: `Taken` 0.
    Begin {
        /// The text of the cluster file.
        cluster: String,
    },
    /// The next records, each as it is encoded. Answer: `Taken`.
    Part {
        /// How many came before.
        skip: u64,
        /// The records.
        #[serde(deserialize_with = "codec::at_most::<RECORDS_PER_PART_MAX, _, _>")]
        records: Vec<serde_bytes::ByteBuf>,
    },
    /// That was all. Answer: `Begun`, when the next configuration is what a restart begins with.
    Finish,
}

/// What an operator is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminReply {
    /// Where it stands.
    Standing(Standing),
    /// The signed [`crate::replica::handover::ExportPayload`], and how many records there are.
    Sealed {
        /// Signed by the replica.
        seal: SignedBytes,
        /// Records that the seal is of.
        records: u64,
    },
    /// The next records, each as it is encoded; none after the last.
    Records(
        #[serde(deserialize_with = "codec::at_most::<RECORDS_PER_PART_MAX, _, _>")]
        Vec<serde_bytes::ByteBuf>,
    ),
    /// So many records of the beginning are there.
    Taken(u64),
    /// The next configuration has begun here.
    Begun,
    /// No.
    Refused(String),
}

/// Where a replica stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its configuration.
    pub configuration: Digest,
    /// The number of that.
    pub number: u64,
    /// What it has stopped for, durably.
    pub stopped: Option<Digest>,
}
