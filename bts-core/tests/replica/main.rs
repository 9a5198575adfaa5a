//! The replica, rule by rule and attack by attack: each test is named by the mark of the attack it
//! repeats (docs/attacks.md) or by the rule it asks for.

mod cast;
mod compare;
mod ends;
mod ends_carried;
mod forget;
mod founding;
mod frozen;
mod gate;
mod handover;
mod index;
mod limits;
mod missed;
mod peers;
mod promises;
mod proposals;
mod reads;
mod recover;
mod restart;
mod shortened;
mod stop;
mod support;
mod turmoil;
mod unions;
mod votes;
