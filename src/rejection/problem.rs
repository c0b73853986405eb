//! Problem documents (RFC 9457), written by hand: five members do not need a serializer.

use super::Rejection;

pub(super) fn document(rejection: &Rejection, request_id: Option<&str>) -> String {
    let mut json = String::with_capacity(256);
    // `about:blank` says that the status tells all there is to the type (RFC 9457 section 4.2.1).
    json.push_str(r#"{"type":"about:blank","title":""#);
    json.push_str(rejection.status.canonical_reason().unwrap_or("Refused"));
    json.push_str(r#"","status":"#);
    json.push_str(rejection.status.as_str());
    if let Some(detail) = &rejection.detail {
        push_member(&mut json, "detail", detail);
    }
    push_member(&mut json, "error", rejection.reason.code());
    if let Some(policy) = &rejection.violated_policy {
        // draft-ietf-httpapi-ratelimit-headers-10: names of policies, as strings.
        json.push_str(r#","violated-policies":["#);
        push_string(&mut json, policy);
        json.push(']');
    }
    if let Some(id) = request_id {
        push_member(&mut json, "request_id", id);
    }
    json.push('}');
    json
}

fn push_member(json: &mut String, name: &str, value: &str) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":");
    push_string(json, value);
}

fn push_string(json: &mut String, value: &str) {
    json.push('"');
    let mut rest = value;
    // All of these are ASCII, which no other character has a byte of.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        json.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            // RFC 8259 section 7: control characters are written as \u00XX.
            control => json.push_str(&format!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    json.push_str(rest);
    json.push('"');
}
