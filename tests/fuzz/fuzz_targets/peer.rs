//! Fuzzes `bts_tests::fuzz::decode::peer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::decode::peer(bytes));
