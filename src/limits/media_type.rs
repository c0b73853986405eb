//! Media types as they are compared (RFC 9110 section 8.3.1): without parameters, in any case.

use std::fmt;

use thiserror::Error;

/// A set of media types: `application/json`, or all of a kind: `image/*`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MediaTypes(Vec<Box<str>>);

/// A text that is no media type.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "the media type {0:?} must be a type and a subtype such as \"application/json\" or \"image/*\", without parameters"
)]
pub struct InvalidMediaType(String);

impl MediaTypes {
    /// The set of `types`.
    ///
    /// # Errors
    ///
    /// [`InvalidMediaType`] for the first that is none.
    pub fn new<T: AsRef<str>>(types: impl IntoIterator<Item = T>) -> Result<Self, InvalidMediaType> {
        let parse = |text: &str| {
            let is_valid = text.split_once('/').is_some_and(|(kind, subtype)| {
                is_token(kind) && kind != "*" && (subtype == "*" || is_token(subtype) && !subtype.contains('*'))
            });
            if is_valid { Ok(text.to_ascii_lowercase().into()) } else { Err(InvalidMediaType(text.to_owned())) }
        };
        types.into_iter().map(|text| parse(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// True when the value of a `Content-Type` field names a type of the set.
    pub fn contains(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        let Some((kind, subtype)) = essence.split_once('/') else { return false };
        let is_one = is_token(kind) && is_token(subtype);
        is_one
            && self.0.iter().any(|own| match own.strip_suffix("/*") {
                Some(own) => own.eq_ignore_ascii_case(kind),
                None => own.eq_ignore_ascii_case(essence),
            })
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

/// As a list, for `Accept`.
impl fmt::Display for MediaTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, media_type) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{media_type}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MediaTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter_and_a_kind_has_all_its_subtypes() {
        let types = MediaTypes::new(["Application/JSON", "image/*"]).unwrap();
        for accepted in
            ["application/json", "APPLICATION/json ; charset=utf-8", "application/json;", "image/png", "Image/SVG+xml"]
        {
            assert!(types.contains(accepted), "{accepted}");
        }
        let refused =
            ["", "application", "application/", "/json", "application/jsonp", "application/x+json", "text/plain"];
        for refused in
            refused.into_iter().chain(["image", "image/", "images/png", "image/png, application/json", "image /png"])
        {
            assert!(!types.contains(refused), "{refused}");
        }
        assert_eq!(types.to_string(), "application/json, image/*");
    }

    #[test]
    fn what_is_no_type_is_refused_at_construction() {
        for bad in ["", "json", "*/*", "a/", "/b", "a/b; c=d", "a/*x", "a b/c", "*/json"] {
            assert_eq!(MediaTypes::new([bad]), Err(InvalidMediaType(bad.to_owned())), "{bad}");
        }
        assert!(!MediaTypes::default().contains("a/b"));
    }
}
