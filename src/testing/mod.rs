//! The contract harness.
