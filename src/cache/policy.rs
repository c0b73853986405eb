//! RFC 9111 and its companions as functions of header fields, status, method and time. Nothing here knows of tower, of
//! bodies or of a store.

pub(super) mod age;
pub(super) mod conditional;
pub(super) mod date;
pub(super) mod directives;
pub(super) mod fields;
pub(super) mod freshness;
pub(super) mod invalidation;
pub(super) mod range;
pub(super) mod reuse;
pub(super) mod storable;
pub(super) mod structured;
pub(super) mod validation;
pub(super) mod vary;
