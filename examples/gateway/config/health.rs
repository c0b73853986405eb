//! `[health]`: the gateway's own health, answered on the public listeners before any route.

use ipnet::IpNet;

use super::address::Cidr;
use super::forms::{ListOf, OrNone};
use super::literal::EMPTY;
use super::path::RequestPath;
use super::table::{Keys, Table};

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// Absent: off.
    pub(crate) path: Option<String>,
    /// Who may ask; empty: everyone.
    pub(crate) allow: Vec<IpNet>,
}

impl Table for Health {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Health {
            path: keys.or::<OrNone<RequestPath>>("path", "/health", "where the gateway tells whether it is well"),
            allow: keys.or::<ListOf<Cidr>>("allow", EMPTY, "networks that may ask; empty: all"),
        })
    }
}
