//! Which stored response fits a request (RFC 9111 section 4.1).

use std::borrow::Cow;

use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};

use super::directives::split_list;

/// One field of the request that the response was chosen by.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Nominated {
    pub(in crate::cache) name: HeaderName,
    /// Its lines as one, in their normal form. `None` where the request had none, which only another one without matches.
    pub(in crate::cache) value: Option<Box<[u8]>>,
    /// The line as it came, where there was one. Whoever says the very same need not be brought into the normal form.
    as_sent: Option<Box<[u8]>>,
}

/// As they are in their normal form.
impl PartialEq for Nominated {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Nominated {
    /// In its normal form already.
    pub(in crate::cache) fn stored(name: HeaderName, value: Option<Box<[u8]>>) -> Self {
        Self { as_sent: value.clone(), name, value }
    }

    fn of(name: HeaderName, request: &HeaderMap) -> Self {
        let value = normal(request, &name).map(|value| value.into());
        let mut lines = request.get_all(&name).iter();
        let as_sent = lines.next().filter(|_| lines.next().is_none()).map(|line| line.as_bytes().into());
        Self { name, value, as_sent }
    }

    fn matches(&self, request: &HeaderMap) -> bool {
        let mut lines = request.get_all(&self.name).iter();
        match (&self.value, lines.next()) {
            (None, None) => true,
            (Some(value), Some(first)) => {
                let same = self.as_sent.as_deref() == Some(first.as_bytes()) && lines.next().is_none();
                same || normal(request, &self.name).is_some_and(|own| *own == **value)
            }
            _ => false,
        }
    }
}

/// True when a response is chosen by more than fields: `*` anywhere in `Vary`.
pub(super) fn is_star(headers: &HeaderMap) -> bool {
    members(headers).any(|name| name == b"*")
}

fn members(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// What `request` said in the fields that `response` names.
pub(in crate::cache) fn nominated(response: &HeaderMap, request: &HeaderMap) -> Box<[Nominated]> {
    let mut names: Vec<_> = members(response).filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names.into_iter().map(|name| Nominated::of(name, request)).collect()
}

/// What another request says in the same fields.
pub(in crate::cache) fn again<'a>(
    nominated: &'a [Nominated],
    request: &'a HeaderMap,
) -> impl Iterator<Item = Nominated> + 'a {
    nominated.iter().map(|field| Nominated::of(field.name.clone(), request))
}

/// True when `request` says the same in every field that a stored response was chosen by.
pub(in crate::cache) fn matches(stored: &[Nominated], request: &HeaderMap) -> bool {
    stored.iter().all(|field| field.matches(request))
}

/// The lines of a field as one, without differences that mean nothing (RFC 9111 section 4.1): how the list is broken into
/// lines and spaced, and, in the `Accept` fields, case and order. Borrowed where there is nothing to change.
fn normal<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let second = lines.next();
    let preferences = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name);
    if second.is_none() && is_plain(first, preferences) {
        return Some(Cow::Borrowed(first));
    }
    let mut elements = Vec::new();
    for line in [first].into_iter().chain(second.map(|line| line.as_bytes())).chain(lines.map(|line| line.as_bytes())) {
        let mut rest = line;
        while !rest.is_empty() {
            let (element, after) = split_list(rest);
            rest = after;
            match element.trim_ascii() {
                b"" => {}
                element if preferences => elements.push(preference(element)),
                element => elements.push(element.to_vec()),
            }
        }
    }
    if preferences {
        // Quality decides; the order in which equals are listed does not (RFC 9110 section 12.4.2).
        elements.sort_unstable();
    }
    Some(Cow::Owned(elements.join(&b","[..])))
}

/// One member, and nothing in it that another spelling could say.
fn is_plain(value: &[u8], preferences: bool) -> bool {
    let plain = |byte: &u8| match byte {
        b',' | b'"' => false,
        b';' | b' ' | b'\t' | b'A'..=b'Z' => !preferences,
        _ => true,
    };
    value.iter().all(plain) && value.trim_ascii() == value
}

/// A preference in lower case, without spaces around its parameters and without the quality that is the default.
fn preference(element: &[u8]) -> Vec<u8> {
    let mut parts = element.split(|byte| *byte == b';').map(|part| part.trim_ascii().to_ascii_lowercase());
    let mut own = parts.next().unwrap_or_default();
    for part in parts {
        if !matches!(&*part, b"q=1" | b"q=1." | b"q=1.0" | b"q=1.00" | b"q=1.000") {
            own.push(b';');
            own.extend_from_slice(&part);
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    fn fits(vary: &[(&str, &str)], first: &[(&str, &str)], second: &[(&str, &str)]) -> bool {
        matches(&nominated(&headers(vary), &headers(first)), &headers(second))
    }

    #[test]
    fn a_star_anywhere_is_a_star() {
        for vary in ["*", "foo, *", "*, foo", "*,*", " ,  *"] {
            assert!(is_star(&headers(&[("vary", vary)])), "{vary}");
        }
        assert!(is_star(&headers(&[("vary", "a"), ("vary", ""), ("vary", "*")])));
        assert!(!is_star(&headers(&[("vary", "a*")])));
    }

    #[test]
    fn every_nominated_field_has_to_match_and_absence_matches_absence_alone() {
        let vary = [("vary", "Foo, bar"), ("vary", "baz")];
        assert!(fits(&vary, &[("foo", "1")], &[("foo", "1"), ("other", "2")]));
        assert!(!fits(&vary, &[("foo", "1")], &[("foo", "2")]));
        assert!(!fits(&vary, &[("foo", "1")], &[("foo", "1"), ("baz", "1")]));
        assert!(!fits(&vary, &[("foo", "1")], &[]));
        assert!(!fits(&vary, &[], &[("bar", "")]));
    }

    #[test]
    fn how_a_list_is_broken_and_spaced_does_not_matter() {
        let vary = [("vary", "foo")];
        assert!(fits(&vary, &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(fits(&vary, &[("foo", "1,2")], &[("foo", " 1 ,   2")]));
        assert!(!fits(&vary, &[("foo", "1,2")], &[("foo", "2,1")]), "of an unknown field the order may matter");
        assert!(!fits(&vary, &[("foo", "\"1, 2\"")], &[("foo", "\"1,2\"")]), "a quoted string is one");
        assert!(!fits(&vary, &[("foo", "a")], &[("foo", "A")]));
    }

    #[test]
    fn case_order_and_default_quality_of_preferences_do_not_matter() {
        let vary = [("vary", "accept-language")];
        let language = |one, two| fits(&vary, &[("accept-language", one)], &[("accept-language", two)]);
        assert!(language("en-GB", "EN-gb"));
        assert!(language("en, de", "de, en"));
        assert!(language("en;q=0.5, de", "de;q=1.0 , en; q=0.5"));
        assert!(!language("en;q=0.5, de", "de;q=0.5, en"));
    }
}
