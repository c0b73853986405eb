//! `ip` of a route: whose address is let in.

use ipnet::IpNet;

use super::address::Cidr;
use super::forms::ListOf;
use super::literal::EMPTY;
use super::table::{Keys, Table};

/// `[routes.NAME.ip]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IpRules {
    /// Empty: everybody.
    pub(crate) allow: Vec<IpNet>,
    /// Also those that `allow` lets in.
    pub(crate) deny: Vec<IpNet>,
}

impl Table for IpRules {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        // A list with a fault in it is not one that lets everybody in: the file as a whole is refused.
        Some(IpRules {
            allow: keys.or::<ListOf<Cidr>>("allow", EMPTY, "networks that are let in; empty: all"),
            deny: keys.or::<ListOf<Cidr>>("deny", EMPTY, "networks that are not, though allow may name them"),
        })
    }
}
