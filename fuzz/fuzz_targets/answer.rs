//! Any bytes from an origin: however they are cut, the same is read in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_gateway::upstream::fuzz_answer;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, wire) = input;
    let in_pieces = fuzz_answer(wire, usize::from(step));
    assert_eq!(in_pieces, fuzz_answer(wire, wire.len()));
});
