//! `plugins` of a route: the user's own layers, which are registered in `plugins.rs`.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use tower_gateway::BoxError;

use super::nearest::nearest;
use super::reader::{join, quoted};
use super::value::{Form, Value};
use crate::plugins::{PLUGINS, Plugin, PluginLayer};

/// A plugin as a route sets it up.
#[derive(Debug, Clone)]
pub(crate) struct ConfiguredPlugin {
    name: &'static str,
    settings: Arc<dyn Settings>,
}

impl ConfiguredPlugin {
    /// What it does is begun now, and ends when the layer is dropped.
    pub(crate) fn layer(&self) -> Result<PluginLayer, BoxError> {
        self.settings.layer().map_err(|error| format!("the plugin {:?}: {error}", self.name).into())
    }
}

impl PartialEq for ConfiguredPlugin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.settings.equal(&*other.settings)
    }
}

impl Eq for ConfiguredPlugin {}

/// A [`Plugin`] of some type.
trait Settings: Any + Debug + Send + Sync {
    fn layer(&self) -> Result<PluginLayer, BoxError>;
    fn equal(&self, other: &dyn Settings) -> bool;
}

impl<P: Plugin> Settings for P {
    fn layer(&self) -> Result<PluginLayer, BoxError> {
        Plugin::layer(self)
    }

    fn equal(&self, other: &dyn Settings) -> bool {
        (other as &dyn Any).downcast_ref::<P>() == Some(self)
    }
}

/// A name, what the plugin that is called by it does, and how its settings are read.
pub(crate) struct Registration {
    name: &'static str,
    about: &'static str,
    read: fn(&Value<'_>) -> Option<Arc<dyn Settings>>,
    schema: fn() -> Json,
}

impl Registration {
    pub(crate) const fn of<P: Plugin>(name: &'static str, about: &'static str) -> Self {
        Self { name, about, read: |value| Some(Arc::new(<P as Form>::read(value)?)), schema: <P as Form>::schema }
    }
}

/// The plugins of a route, in the order of the file.
pub(super) struct Plugins;

impl Form for Plugins {
    type Output = Vec<ConfiguredPlugin>;

    fn expects() -> String {
        "a table, each key the name of a plugin and each value the table of its settings".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        let Some(table) = value.table() else {
            value.is_not::<Self>();
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let read = entries.into_iter().map(|(name, node)| {
            let path = join(&value.path, name.get_ref());
            let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.name == name.get_ref()) else {
                let remedy = match nearest(name.get_ref(), PLUGINS.iter().map(|plugin| plugin.name)) {
                    Some(nearest) if nearest.is_close() => format!("did you mean {:?}?", nearest.name),
                    Some(nearest) => format!("the nearest name is {:?}", nearest.name),
                    None => "register one in plugins.rs".to_owned(),
                };
                let message = format!("{path}: no plugin is registered as {}; {remedy}", quoted(name.get_ref()));
                value.reader.fault(&name.span(), &path, message);
                return None;
            };
            let settings = (plugin.read)(&Value { reader: value.reader, path, node })?;
            Some(ConfiguredPlugin { name: plugin.name, settings })
        });
        // All of them, for the faults of each.
        read.collect::<Vec<_>>().into_iter().collect()
    }

    fn schema() -> Json {
        let property = |plugin: &Registration| {
            let mut schema = (plugin.schema)();
            schema["description"] = json!(plugin.about);
            (plugin.name.to_owned(), schema)
        };
        let properties: Map<String, Json> = PLUGINS.iter().map(property).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    }
}
