//! Any bytes from a client: however they are cut, the same requests are read in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_gateway::serve::fuzz_requests;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, wire) = input;
    let in_pieces = fuzz_requests(wire, usize::from(step));
    assert_eq!(in_pieces, fuzz_requests(wire, wire.len()));
});
