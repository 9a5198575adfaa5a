//! Fuzzes `bts_tests::fuzz::cluster::cluster`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::cluster::cluster(bytes));
