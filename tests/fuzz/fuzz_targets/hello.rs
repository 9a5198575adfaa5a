//! Fuzzes `bts_tests::fuzz::decode::hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::decode::hello(bytes));
