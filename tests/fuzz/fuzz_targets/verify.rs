//! Fuzzes `bts_tests::fuzz::verify::verify`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::verify::verify(bytes));
