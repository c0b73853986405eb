//! The contract that every layer of this crate keeps, as a test for layers of your own.
//!
//! A layer that passes composes with any other in any order, does not lose permits when clients leave, and can be
//! cloned as often as axum and hyper like. One registration checks all of it; see [`contract`].

mod body;
mod books;
mod cases;
pub mod contract;
mod drive;
mod origin;
mod rule;
mod stack;
mod transcript;

pub use self::body::TestBody;
pub use self::contract::{Contract, Readiness};
pub use self::origin::{Origin, TestError};
pub use self::rule::{Rule, Violation};
pub use self::stack::Caller;
