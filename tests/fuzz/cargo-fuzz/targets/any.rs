//! Any of the targets, by libFuzzer: `WAXWING_FUZZ_TARGET` names it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<waxwing_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("WAXWING_FUZZ_TARGET").unwrap_or_default();
    waxwing_fuzz::target(&name).expect("WAXWING_FUZZ_TARGET names no target")
});

fuzz_target!(|data: &[u8]| TARGET(data));
