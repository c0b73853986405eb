//! Problem documents (RFC 9457), written by hand: five members do not need a serializer.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Rejection;

/// A member whose value is text, with what stands before and behind it.
struct Member<'a> {
    open: &'static str,
    text: Cow<'a, str>,
    close: &'static str,
}

impl<'a> Member<'a> {
    fn new(open: &'static str, text: &'a str, close: &'static str) -> Self {
        Self { open, text: escaped(text), close }
    }
}

pub(super) fn document(rejection: &Rejection, request_id: Option<&str>) -> String {
    // `about:blank` says that the status tells all there is to the type (RFC 9457 section 4.2.1).
    const TITLE: &str = r#"{"type":"about:blank","title":""#;
    const STATUS: &str = r#"","status":"#;
    let title = rejection.status.canonical_reason().unwrap_or("Refused");
    let status = rejection.status.as_str();
    let members = [
        rejection.detail.as_deref().map(|detail| Member::new(r#","detail":""#, detail, "\"")),
        Some(Member::new(r#","error":""#, rejection.reason.code(), "\"")),
        // draft-ietf-httpapi-ratelimit-headers-10: names of policies, as strings.
        rejection.violated_policy.as_deref().map(|policy| Member::new(r#","violated-policies":[""#, policy, "\"]")),
        request_id.map(|id| Member::new(r#","request_id":""#, id, "\"")),
    ];
    // As large as it is, so that its memory can be handed on as it is.
    let length: usize =
        members.iter().flatten().map(|Member { open, text, close }| open.len() + text.len() + close.len()).sum();
    let mut json = String::with_capacity(TITLE.len() + title.len() + STATUS.len() + status.len() + length + 1);
    json.push_str(TITLE);
    json.push_str(title);
    json.push_str(STATUS);
    json.push_str(status);
    for Member { open, text, close } in members.iter().flatten() {
        json.push_str(open);
        json.push_str(text);
        json.push_str(close);
    }
    json.push('}');
    json
}

/// A text as it stands between the quotes of a string.
fn escaped(text: &str) -> Cow<'_, str> {
    if is_plain(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(2 * text.len());
    let mut rest = text;
    // All of these are ASCII, which no other character has a byte of.
    while let Some(at) = rest.bytes().position(must_be_escaped) {
        escaped.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => escaped.push_str("\\\""),
            b'\\' => escaped.push_str("\\\\"),
            // RFC 8259 section 7: control characters are written as \u00XX.
            control => drop(write!(escaped, "\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    escaped.push_str(rest);
    Cow::Owned(escaped)
}

fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// True where no byte has to be escaped, as nearly always: eight of them at a time.
fn is_plain(text: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // The highest bit of each byte that is below `least`, or of some behind one that is ("Bit Twiddling Hacks", S. E. Anderson).
    let below = |eight: u64, least: u8| eight.wrapping_sub(EACH * u64::from(least)) & !eight & (EACH << 7);
    let is_any = |eight: u64| {
        let [quote, backslash] = [b'"', b'\\'].map(|byte| below(eight ^ (EACH * u64::from(byte)), 1));
        (below(eight, 0x20) | quote | backslash) != 0
    };
    let (eights, rest) = text.as_chunks::<8>();
    let is_special = match (text.last_chunk::<8>(), rest) {
        (_, []) => false,
        // The last eight once more, as far as they were looked at.
        (Some(last), _) => is_any(u64::from_le_bytes(*last)),
        (None, few) => few.iter().any(|byte| must_be_escaped(*byte)),
    };
    !is_special && !eights.iter().any(|eight| is_any(u64::from_le_bytes(*eight)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_it_says_is_a_document_that_says_it(
            detail in any::<Option<String>>(), policy in prop::option::of(".*"), id in prop::option::of("[ -~]*"),
            code in "[a-z_\"\\\\]*",
        ) {
            let mut rejection = Rejection::new("test", Reason::Other(code.clone().leak()));
            rejection.detail = detail.clone().map(Cow::Owned);
            rejection.violated_policy = policy.as_deref().map(Into::into);
            let read: serde_json::Value = serde_json::from_str(&document(&rejection, id.as_deref())).unwrap();
            prop_assert_eq!(read["detail"].as_str(), detail.as_deref());
            prop_assert_eq!(read["violated-policies"][0].as_str(), policy.as_deref());
            prop_assert_eq!(read["request_id"].as_str(), id.as_deref());
            prop_assert_eq!(read["error"].as_str(), Some(code.as_str()));
            prop_assert_eq!(&read["status"], &rejection.status.as_u16());
        }
    }

    proptest! {
        #[test]
        fn text_is_plain_where_no_byte_of_it_must_be_escaped(text in "[ -~\\PC\t\n\"\\\\]{0,40}") {
            prop_assert_eq!(is_plain(text.as_bytes()), !text.bytes().any(must_be_escaped));
        }

        #[test]
        fn a_byte_that_must_be_escaped_is_found_wherever_it_stands(length in 1..40usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = vec![b'a'; length];
            text[at.index(length)] = byte;
            prop_assert_eq!(is_plain(&text), !must_be_escaped(byte));
        }
    }

    #[test]
    fn its_memory_is_as_large_as_it_is() {
        let rejection =
            Rejection::new("test", Reason::RateLimitExceeded).detail("it is used up").violated_policy("few");
        let json = document(&rejection, Some("0199c1f0-1c7e-7a00-8000-000000000000"));
        assert_eq!(json.capacity(), json.len());
    }
}
