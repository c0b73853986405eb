//! Atomics: std's, or those of loom, which tries every order in which threads may meet (private cfg
//! `tower_gateway_loom`).

#[cfg(tower_gateway_loom)]
pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
#[cfg(not(tower_gateway_loom))]
pub(crate) use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
