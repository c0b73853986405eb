use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::circuit::Circuit;
use super::target::Target;
use super::{Redis, RedisUrlError, Shared};

/// Makes a [`Redis`].
#[derive(Clone, Debug)]
pub struct RedisBuilder {
    target: Target,
    timeout: Duration,
    key_prefix: Box<str>,
    background: Option<Handle>,
}

impl RedisBuilder {
    pub(super) fn new(url: &str) -> Result<Self, RedisUrlError> {
        Ok(Self {
            target: Target::parse(url)?,
            timeout: Duration::from_millis(50),
            key_prefix: "".into(),
            background: None,
        })
    }

    /// The deadline of one command, connecting included. 50 ms by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What all keys begin with, such as `gw:`. Nothing by default.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// The runtime on which a server that is down is tried again. By default it is the one whose call found it down;
    /// where that one ends, the next call sees to it that another goes on.
    #[must_use]
    pub fn background(mut self, runtime: Handle) -> Self {
        self.background = Some(runtime);
        self
    }

    /// The handle. It connects when it is first used.
    pub fn build(self) -> Redis {
        let Self { target, timeout, key_prefix, background } = self;
        Redis(Arc::new(Shared {
            target,
            timeout,
            key_prefix,
            circuit: Circuit::default(),
            losses: Default::default(),
            background,
            slots: Default::default(),
        }))
    }
}
