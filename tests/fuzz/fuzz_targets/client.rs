//! Fuzzes `bts_tests::fuzz::machines::client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::machines::client(bytes));
