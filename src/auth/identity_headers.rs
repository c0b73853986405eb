//! Header fields that tell an origin who is asking.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::names::set_for_origin;
use crate::{Head, NameSet};

type Write = Arc<dyn Fn(&Head<'_>) -> Option<String> + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct IdentityHeaders {
    fields: Vec<(HeaderName, Write)>,
    spellings: Arc<NameSet>,
}

/// An identity that no field can carry.
pub(super) struct NotAHeaderValue;

impl IdentityHeaders {
    pub(super) fn add(&mut self, name: HeaderName, write: Write) {
        self.fields.push((name, write));
        self.spellings = Arc::new(self.fields.iter().map(|(name, _)| name.clone()).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The names, in every spelling.
    pub(super) fn spellings(&self) -> &Arc<NameSet> {
        &self.spellings
    }

    /// The fields of a request, to be put in once nobody looks at it any more.
    pub(super) fn values(&self, head: &Head<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, NotAHeaderValue> {
        let value = |(name, write): &(HeaderName, Write)| {
            let text = write(head).filter(|text| !text.is_empty())?;
            Some(header_value(text).map(|value| (name.clone(), value)))
        };
        self.fields.iter().filter_map(value).collect()
    }

    /// What the client sent of them goes, in every spelling, and what is ours comes.
    pub(super) fn write(&self, headers: &mut HeaderMap, values: Vec<(HeaderName, HeaderValue)>) {
        self.spellings.remove_from(headers);
        for (name, value) in values {
            set_for_origin(headers, &name, value);
        }
    }
}

/// Never cut or changed to fit: an origin must not take one subject for another (RFC 9110 section 5.5).
fn header_value(text: String) -> Result<HeaderValue, NotAHeaderValue> {
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return Err(NotAHeaderValue);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| NotAHeaderValue)
}
