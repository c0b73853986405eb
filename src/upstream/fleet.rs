//! The servers that there are now, and how requests are spread over them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::balance::{Balance, Balancer};
use super::server::Server;

/// What a choice is made from. It never changes: another one takes its place as a whole, and whoever has begun to choose
/// goes on with what there was.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) servers: Arc<[Arc<Server>]>,
    pub(super) balancer: Balancer,
    /// Which server each cookie stands for.
    by_token: HashMap<u64, usize>,
}

impl Fleet {
    pub(super) fn new(servers: Vec<Arc<Server>>, balance: &Balance) -> Self {
        let weights: Vec<u32> = servers.iter().map(|server| server.weight()).collect();
        let by_token = match balance {
            Balance::Sticky(cookie) => servers
                .iter()
                .enumerate()
                .map(|(index, server)| (cookie.token(&server.origin().to_string()), index))
                .collect(),
            _ => HashMap::new(),
        };
        Self { balancer: Balancer::new(balance, &weights), servers: servers.into(), by_token }
    }

    /// The server that a cookie stands for.
    pub(super) fn of_token(&self, token: u64) -> Option<usize> {
        self.by_token.get(&token).copied()
    }

    /// Numbers that none of these servers has, the lowest first.
    pub(super) fn free_slots<'a>(servers: impl Iterator<Item = &'a Arc<Server>>) -> impl Iterator<Item = usize> {
        let taken: HashSet<usize> = servers.map(|server| server.slot()).collect();
        (0..).filter(move |slot| !taken.contains(slot))
    }
}
