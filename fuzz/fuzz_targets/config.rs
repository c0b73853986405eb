//! Any text as a configuration file: it is read, or its faults have places in it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, reason = "the gateway uses what this does not")]
#[path = "../../examples/gateway/config/mod.rs"]
mod config;

/// What the configuration knows of plugins; none is registered.
#[allow(dead_code, reason = "none is")]
mod plugins {
    use std::fmt::Debug;

    use tower_gateway::BoxError;

    use crate::config::plugins::Registration;
    use crate::config::settings::Table;

    pub(crate) struct PluginLayer;

    pub(crate) const PLUGINS: &[Registration] = &[];

    pub(crate) trait Plugin: Table + Debug + PartialEq + Send + Sync + 'static {
        fn layer(&self) -> Result<PluginLayer, BoxError>;
    }
}

fuzz_target!(|text: &str| {
    let variables = |name: &str| (name != "UNSET").then(|| name.to_lowercase());
    match config::Config::parse(text, "gateway.toml", Path::new("no-such-folder"), &variables) {
        Ok(loaded) => assert!(!loaded.config.routes.is_empty()),
        Err(faults) => {
            assert!(!faults.faults.is_empty());
            let lines = text.lines().count() + 1;
            assert!(faults.faults.iter().all(|fault| fault.position.is_none_or(|place| place.line <= lines)));
        }
    }
});
