//! Fuzzes `bts_tests::fuzz::files::cluster_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bts_tests::fuzz::files::cluster_file(bytes));
