//! The cache, from outside: what clients get, and what the origin is asked.

#[path = "cache/origin.rs"]
mod origin;
#[path = "cache/semantics.rs"]
mod semantics;
#[path = "cache/sharing.rs"]
mod sharing;
#[path = "cache/together.rs"]
mod together;
