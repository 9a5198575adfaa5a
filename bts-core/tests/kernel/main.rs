//! The safety kernel attacked through its public interface: signatures, certificates, promises, the
//! value choice, the acceptor and the codec.

mod support;

mod certificates;
mod contents;
mod crafted;
mod tally;
mod votes;
