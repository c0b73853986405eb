//! What most requests never run through, told to the compiler.

/// Says that the branch it stands in is off the way of most requests. It is laid out behind what they run through, which a
/// processor then finds in fewer lines of its cache.
///
/// A call of nothing, which is gone from what is built. From Rust 1.95 on, `std::hint::cold_path` does the same.
#[cold]
#[inline(never)]
pub(crate) const fn aside() {}
