//! The replica, rule by rule and attack by attack: each test is named by the mark of the attack it
//! repeats (docs/attacks.md) or by the rule it asks for.

mod gate;
mod peers;
mod proposals;
mod support;
