//! `Forwarded`, RFC 7239 section 4, read from the right.
//!
//! ```text
//! Forwarded         = 1#forwarded-element
//! forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//! forwarded-pair    = token "=" ( token / quoted-string )
//! ```

use std::borrow::Cow;
use std::net::IpAddr;

use super::walk::{address_in_brackets, ascii, number, trim};

/// What an element says its client is (RFC 7239 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Address(IpAddr),
    /// `unknown`, or nothing said.
    Unknown,
    /// A name such as `_hidden` that means something to its writer only.
    Obfuscated,
}

/// An element, or a node in it, that breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The elements of one line, the last one first, without the white space around them. Empty ones are nothing (RFC 9110
/// section 5.6.1.2).
///
/// A trusted proxy appends its element to whatever the client sent, and that may be a quote without its end. Read from
/// the left, it would swallow the proxy's element; read from the right, what the proxy wrote is whole whatever precedes it.
pub(super) fn elements_from_right(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let elements = std::iter::from_fn(move || {
        let line = rest?;
        let comma = last_comma_outside_quotes(line);
        rest = comma.map(|at| &line[..at]);
        Some(trim(comma.map_or(line, |at| &line[at + 1..])))
    });
    elements.filter(|element| !element.is_empty())
}

/// Going left, the first quote that no backslash escapes opens the string: quotes within it are escaped, and the one that
/// opens it follows a `=`.
fn last_comma_outside_quotes(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !quoted => quoted = true,
            b'"' if !is_escaped(line, at) => quoted = false,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_escaped(line: &[u8], at: usize) -> bool {
    line[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The node that `element` names as its client.
pub(super) fn client_of(element: &[u8]) -> Result<Node, Malformed> {
    let mut client = None;
    let mut seen = 0_u8;
    let mut rest = element;
    loop {
        // Empty pairs are allowed by the grammar.
        while let [b';', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(client.unwrap_or(Node::Unknown));
        }
        let (Pair { name, value }, tail) = pair(rest)?;
        if let Some(parameter) = REGISTERED.iter().position(|known| name.eq_ignore_ascii_case(known)) {
            // "Each parameter MUST NOT occur more than once per field-value" (section 4): two of them are two clients.
            if seen & 1 << parameter != 0 {
                return Err(Malformed);
            }
            seen |= 1 << parameter;
            if parameter == FOR {
                client = Some(node(&value)?);
            }
        }
        if !matches!(tail.first(), None | Some(b';')) {
            return Err(Malformed);
        }
        rest = tail;
    }
}

/// Section 5. Extensions may say what they like.
const REGISTERED: [&[u8]; 4] = [b"for", b"by", b"host", b"proto"];
const FOR: usize = 0;

struct Pair<'a> {
    name: &'a [u8],
    /// Without its quotes.
    value: Cow<'a, [u8]>,
}

/// The pair that `text` begins with, and what follows it.
fn pair(text: &[u8]) -> Result<(Pair<'_>, &[u8]), Malformed> {
    let (name, rest) = token(text)?;
    let rest = rest.strip_prefix(b"=").ok_or(Malformed)?;
    if let Some(rest) = rest.strip_prefix(b"\"") {
        let (value, rest) = quoted_string(rest)?;
        return Ok((Pair { name, value }, rest));
    }
    let (value, rest) = token(rest)?;
    Ok((Pair { name, value: value.into() }, rest))
}

/// RFC 9110 section 5.6.2.
fn token(text: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match text.iter().take_while(|byte| is_tchar(byte)).count() {
        0 => Err(Malformed),
        length => Ok(text.split_at(length)),
    }
}

/// RFC 9110 section 5.6.4, from behind its opening quote.
fn quoted_string(text: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Malformed> {
    let mut value = Cow::Borrowed(&text[..0]);
    let mut at = 0;
    loop {
        match text[at..] {
            [b'"', ref rest @ ..] => return Ok((value, rest)),
            [b'\\', byte, ..] if is_text(byte) => {
                value.to_mut().push(byte);
                at += 2;
            }
            [byte, ..] if is_text(byte) && byte != b'\\' => {
                at += 1;
                match &mut value {
                    Cow::Borrowed(whole) => *whole = &text[..at],
                    Cow::Owned(unescaped) => unescaped.push(byte),
                }
            }
            _ => return Err(Malformed),
        }
    }
}

/// HTAB, SP, VCHAR or obs-text.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// `node = nodename [ ":" node-port ]` (section 6). IPv6 stands in brackets always.
fn node(value: &[u8]) -> Result<Node, Malformed> {
    if value.starts_with(b"[") {
        let (address, rest) = address_in_brackets(value).ok_or(Malformed)?;
        return if rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_node_port) {
            Ok(Node::Address(address))
        } else {
            Err(Malformed)
        };
    }
    let mut parts = value.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    if !parts.next().is_none_or(is_node_port) {
        return Err(Malformed);
    }
    if name.eq_ignore_ascii_case(b"unknown") {
        return Ok(Node::Unknown);
    }
    if is_obfuscated(name) {
        return Ok(Node::Obfuscated);
    }
    ascii(name).and_then(|name| name.parse().ok()).map(|v4| Node::Address(IpAddr::V4(v4))).ok_or(Malformed)
}

/// `node-port = port / obfport`.
fn is_node_port(port: &[u8]) -> bool {
    number(port).is_some() || is_obfuscated(port)
}

/// `"_" 1*( ALPHA / DIGIT / "." / "_" / "-" )` (section 6.3).
fn is_obfuscated(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    matches!(name, [b'_', rest @ ..] if !rest.is_empty() && rest.iter().all(allowed))
}

#[cfg(test)]
mod tests;
