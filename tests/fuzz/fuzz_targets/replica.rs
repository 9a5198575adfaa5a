//! Fuzzes `bts_tests::fuzz::machines::replica`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::machines::replica(bytes));
