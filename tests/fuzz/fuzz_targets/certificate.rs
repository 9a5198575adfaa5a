//! Fuzzes `bts_tests::fuzz::files::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::files::certificate(bytes));
