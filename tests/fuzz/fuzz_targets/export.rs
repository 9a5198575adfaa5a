//! Fuzzes `bts_tests::fuzz::operators::export`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::operators::export(bytes));
