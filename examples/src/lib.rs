//! Programs that show BTS at work. Each binary's first comment says what you will see; what several
//! of them share stands here.

#![warn(missing_docs)]

pub mod cluster;
pub mod lab;
pub mod wordcount;
