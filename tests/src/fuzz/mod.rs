//! What strangers can hand to the programs, one function for each way in: it takes any bytes, must
//! not panic, and demands what the decoder promises. The fuzzer calls these functions with bytes it
//! makes up (`tests/fuzz`), `tests/tests/fuzz.rs` with those that were worth keeping.
//!
//! * [`decode`]: frames, messages, the first words of a connection, what is signed.
//! * [`verify`]: signatures and certificates, with keys that the fuzzer may use.
//! * [`files`]: tuples as people type them, configurations, certificates and keys.
//! * [`machines`]: one replica, or one client, to whom faulty ones say what the bytes say.
//! * [`operators`]: what is said and handed over at the end of a configuration.
//! * [`cluster`]: a whole cluster with such faulty ones in it.
//! * [`seeds`]: where the first bytes come from.

pub mod cluster;
pub mod decode;
mod draw;
pub mod files;
pub mod machines;
pub mod operators;
pub mod seeds;
mod speech;
pub mod verify;
mod words;

pub use draw::Draw;

/// A way in.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its binary and of its corpus.
    pub name: &'static str,
    /// What is done with the bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("frames", decode::frames),
    target("request", decode::request),
    target("reply", decode::reply),
    target("peer", decode::peer),
    target("hello", decode::hello),
    target("payload", decode::payload),
    target("admin", operators::admin),
    target("verify", verify::verify),
    target("text", files::text),
    target("cluster_file", files::cluster_file),
    target("settings", files::settings),
    target("certificate", files::certificate),
    target("identity", files::identity),
    target("replica", machines::replica),
    target("client", machines::client),
    target("export", operators::export),
    target("cluster", cluster::cluster),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
