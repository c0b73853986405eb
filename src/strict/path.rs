//! One form for all the ways to write a path, so that what is matched is what the origin understands.

use std::borrow::Cow;

use super::refusal::Refusal;

const NO_PATH: Refusal = Refusal::of_target("the path does not begin with a slash");
const NOT_ASCII: Refusal = Refusal::of_target("the path holds bytes that have to be percent-encoded");
const CONTROL: Refusal = Refusal::of_target("the path holds a control character");
const BACKSLASH: Refusal = Refusal::of_target("the path holds a backslash");
const MALFORMED: Refusal = Refusal::of_target("the path holds a malformed percent-encoding");
const OVERLONG: Refusal = Refusal::of_target("the path holds an overlong encoding of a character");
const DISGUISED: Refusal = Refusal::of_target("the path holds a disguised dot segment");
const ABOVE_ROOT: Refusal = Refusal::of_target("the path leads above the root");

/// The normal form of `path` (RFC 3986 section 6.2.2), borrowed when it has it already, as one that [`is_clean`] has.
///
/// Unreserved characters are decoded, the digits of other percent-encodings are upper case, slashes in a row are one,
/// dot segments are resolved. What an origin may read in another way than this is refused. `%25` is never decoded: what
/// follows it is data, however much it looks like an encoding.
pub(super) fn normalise(path: &str) -> Result<Cow<'_, str>, Refusal> {
    let decoded = decode_unreserved(path)?;
    let resolved = resolve(&decoded)?;
    // Such as `/.well-known` and `/a%20b`, which only looked as if there was something to do.
    Ok(if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) })
}

/// True when `path`, which is normal, holds an encoded slash.
pub(super) fn has_encoded_slash(path: &str) -> bool {
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        if matches!(rest[at..], [b'%', b'2', b'F' | b'f', ..]) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// True when a glance shows that there is nothing to do: the one scan that nearly every path costs.
pub(super) fn is_clean(path: &str) -> bool {
    const PLAIN: u8 = 0;
    const SLASH: u8 = 1;
    const DOT: u8 = 2;
    const UNCLEAN: u8 = 3;
    /// What each byte is in a path.
    static KINDS: [u8; 256] = {
        let mut kinds = [PLAIN; 256];
        let mut byte = 0;
        while byte < 256 {
            kinds[byte] = match byte as u8 {
                b'%' | b'\\' | b';' | 0..=b' ' | 0x7f.. => UNCLEAN,
                b'/' => SLASH,
                b'.' => DOT,
                _ => PLAIN,
            };
            byte += 1;
        }
        kinds
    };
    // What comes before a path is no slash, and what a path begins with is one.
    let mut before = PLAIN;
    for byte in path.bytes() {
        let kind = KINDS[usize::from(byte)];
        if kind == UNCLEAN || before == SLASH && kind != PLAIN {
            return false;
        }
        before = kind;
    }
    path.starts_with('/')
}

/// Decodes what may stand for itself (RFC 3986 section 6.2.2.2), and refuses what may be nothing in a path.
fn decode_unreserved(path: &str) -> Result<String, Refusal> {
    let bytes = path.as_bytes();
    let mut decoded = String::with_capacity(bytes.len());
    // The byte that the percent-encoding just before this place stands for.
    let mut before = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let byte = match byte {
            b'%' => {
                let [high, low] = digits(&bytes[at + 1..]).ok_or(MALFORMED)?;
                let byte = high << 4 | low;
                refuse_encoded(byte, before)?;
                before = Some(byte);
                at += 3;
                if !is_unreserved(byte) {
                    decoded.extend(['%', hex(high), hex(low)]);
                    continue;
                }
                byte
            }
            b'\\' => return Err(BACKSLASH),
            0x80.. => return Err(NOT_ASCII),
            0..=b' ' | 0x7f => return Err(CONTROL),
            byte => {
                before = None;
                at += 1;
                byte
            }
        };
        decoded.push(char::from(byte));
    }
    Ok(decoded)
}

fn refuse_encoded(byte: u8, before: Option<u8>) -> Result<(), Refusal> {
    match (before, byte) {
        (_, 0..=0x1f | 0x7f) => Err(CONTROL),
        (_, b'\\') => Err(BACKSLASH),
        // RFC 3629 section 10: decoders that take these make a slash or a dot of them. C0 and C1 begin nothing else.
        (_, 0xc0 | 0xc1) | (Some(0xe0), 0x80..=0x9f) | (Some(0xf0), 0x80..=0x8f) => Err(OVERLONG),
        _ => Ok(()),
    }
}

/// Resolves dot segments (RFC 3986 section 5.2.4) and merges slashes, which to most origins are one: merged first, so
/// that `/a//../b` is `/b` to us as it is to them.
fn resolve(path: &str) -> Result<String, Refusal> {
    let mut resolved = String::with_capacity(path.len());
    let mut segments = path.strip_prefix('/').ok_or(NO_PATH)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | "" => {}
            ".." => {
                let parent = resolved.rfind('/').ok_or(ABOVE_ROOT)?;
                resolved.truncate(parent);
            }
            segment => {
                refuse_disguised(segment)?;
                resolved.push('/');
                resolved.push_str(segment);
                continue;
            }
        }
        // `/a/`, `/a/.` and `/a/b/..` name what is in `/a/`.
        if is_last {
            resolved.push('/');
        }
    }
    Ok(resolved)
}

/// Refuses segments that are none or dots to an origin which cuts off path parameters (`/..;x/`, and `/;x/`), or decodes
/// slashes (`/..%2F`).
fn refuse_disguised(segment: &str) -> Result<(), Refusal> {
    let is_dots = |text: &str| matches!(text, "." | "..");
    let pieces = || segment.split("%2F").map(|piece| piece.split("%3B").next().unwrap_or(piece));
    let names = || pieces().map(|piece| piece.split_once(';').map_or(piece, |(name, _)| name));
    if names().any(is_dots) || segment.starts_with(';') { Err(DISGUISED) } else { Ok(()) }
}

fn digits(bytes: &[u8]) -> Option<[u8; 2]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    match *bytes {
        [high, low, ..] => Some([digit(high)?, digit(low)?]),
        _ => None,
    }
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests;
