//! The safety kernel attacked through its public interface: signatures, certificates, promises, the
//! value choice, the acceptor and the codec.

mod reference;
mod support;
mod workshop;

mod agreement;
mod certificates;
mod choose;
mod contents;
mod crafted;
mod tally;
mod votes;
