//! What is done to one header section.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::template::{NotAHeaderValue, Scope, Template};
use crate::NameSet;

/// Which fields of a header section are removed, and then which are set.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    removed: NameSet,
    set: Vec<(HeaderName, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    /// The same for every request: made once.
    Constant(Option<HeaderValue>),
    Template(Template),
}

impl HeaderRules {
    /// No rule at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes these fields and none else, in any spelling, before others are set.
    #[must_use]
    pub fn remove(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.removed = NameSet::new(names);
        self
    }

    /// Sets a field, besides those that are set already. Those that frame the message (`Content-Length`,
    /// `Transfer-Encoding`, `Connection`) are the server's and the client's to set, and break it when set here.
    #[must_use]
    pub fn set(mut self, name: HeaderName, value: Template) -> Self {
        let constant = value.as_constant().map(|text| HeaderValue::try_from(text.trim()).ok());
        let value = match constant {
            Some(value) => Value::Constant(value.filter(|value| !value.is_empty())),
            None => Value::Template(value),
        };
        self.set.push((name, value));
        self
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }

    /// True when there is a field to set.
    pub(super) fn sets(&self) -> bool {
        !self.set.is_empty()
    }

    /// True when a template asks for the request's target or Host.
    pub(super) fn reads_target(&self) -> bool {
        self.templates().any(Template::reads_target)
    }

    pub(super) fn reads_request(&self) -> bool {
        self.templates().next().is_some()
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.set.iter().filter_map(|(_, value)| match value {
            Value::Constant(_) => None,
            Value::Template(template) => Some(template),
        })
    }

    pub(super) fn remove_from(&self, headers: &mut HeaderMap) {
        if !self.removed.is_empty() {
            self.removed.remove_from(headers);
        }
    }

    /// The fields to set, each with its value; without one it is to be removed.
    pub(super) fn values<'a>(
        &'a self,
        scope: Scope<'_>,
    ) -> impl Iterator<Item = (&'a HeaderName, Result<Option<HeaderValue>, NotAHeaderValue>)> {
        self.set.iter().map(move |(name, value)| {
            let value = match value {
                Value::Constant(value) => Ok(value.clone()),
                Value::Template(template) => template.header_value_in(&scope),
            };
            (name, value)
        })
    }
}
