//! The safety kernel attacked through its public interface: signatures, certificates, promises, the
//! value choice, the acceptor and the codec.

mod operators;
mod reference;
mod samples;
mod support;
mod workshop;

mod acceptor;
mod agreement;
mod batches;
mod certificates;
mod choose;
mod comparisons;
mod contents;
mod crafted;
mod endings;
mod golden;
mod hostile;
mod promises;
mod tally;
mod votes;
