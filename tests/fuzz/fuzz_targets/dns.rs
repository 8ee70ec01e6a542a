#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| denwa_fuzz::targets::dns::run(bytes));
