//! Locks and atomics, which loom replaces where every interleaving is tried.

#[cfg(not(tower_gateway_loom))]
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(tower_gateway_loom))]
pub(super) use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(tower_gateway_loom)]
pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(tower_gateway_loom)]
pub(super) use loom::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
