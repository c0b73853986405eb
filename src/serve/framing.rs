//! Where messages begin and end on the wire, for what hyper repairs before anybody can see it.
//!
//! Of a head with `Content-Length` and `Transfer-Encoding` hyper drops the first, and of equal lengths all but one (RFC
//! 9112 section 6.3 and RFC 9110 section 8.6 allow both). No client means either, and a proxy before this server may have
//! taken the message for another: such a head is refused, and to find it the bytes are followed on their way to hyper.

/// The beginning of a line that decides anything: a name, and a length of 20 digits with room for white space.
const LINE: usize = 64;

/// Follows the messages of one connection, and finds the first head whose framing is in doubt.
///
/// It agrees with hyper on where a message ends, or hyper refuses the message; in the one case where it cannot tell, it
/// has its doubts about all that follows.
#[derive(Debug, Default)]
pub(super) struct FramingWatch {
    place: Place,
    head: Head,
    /// Heads that were seen whole.
    heads: u64,
    /// The beginning of a line whose end has not come yet. Rarely is one torn, so nothing is set aside for it.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    /// With the line end after it.
    Chunk(u64),
    Trailers,
    Lost,
}

/// What the lines of a head came to so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    begun: bool,
    chunked: bool,
    length: Length,
}

#[derive(Clone, Copy, Debug, Default)]
enum Length {
    #[default]
    None,
    One(u64),
    Doubtful,
}

impl FramingWatch {
    /// Takes in what came next. The number, from 0, of the first head in doubt, when it is found.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Lost => return None,
                Place::Body(left) | Place::Chunk(left) => {
                    let skipped = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    bytes = &bytes[skipped..];
                    *left -= skipped as u64;
                    if *left == 0 {
                        self.place = if matches!(self.place, Place::Body(_)) { Place::Head } else { Place::ChunkSize };
                    }
                }
                Place::Head | Place::ChunkSize | Place::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return None;
                    };
                    let doubtful = self.whole_line(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    if let Err(Doubt) = doubtful {
                        self.place = Place::Lost;
                        return Some(self.heads);
                    }
                }
            }
        }
        None
    }

    fn whole_line(&mut self, end: &[u8]) -> Result<(), Doubt> {
        if self.line.is_empty() {
            return self.take(end);
        }
        self.keep(end);
        let line = std::mem::take(&mut self.line);
        self.take(&line)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(LINE - self.line.len());
        self.line.extend_from_slice(&bytes[..fits]);
        // Of what does not fit the last byte matters: whether the line ends as it should.
        if let (Some(kept), [_, .., last] | [last]) = (self.line.last_mut(), &bytes[fits..]) {
            *kept = *last;
        }
    }

    /// A line without its line feed. Of a long one the beginning may be all there is, and its last byte.
    fn take(&mut self, line: &[u8]) -> Result<(), Doubt> {
        match self.place {
            Place::Head => {
                let is_blank = matches!(line, b"" | b"\r");
                // Blank lines before a request are passed over (RFC 9112 section 2.2).
                if is_blank && self.head.begun {
                    return self.head_ended();
                }
                if self.head.begun {
                    self.head.field(line);
                }
                self.head.begun |= !is_blank;
            }
            Place::ChunkSize => {
                self.place = match chunk_size(line).ok_or(Doubt)? {
                    0 => Place::Trailers,
                    size => Place::Chunk(size.checked_add(2).ok_or(Doubt)?),
                }
            }
            Place::Trailers if line == b"\r" => self.place = Place::Head,
            // hyper ends a trailer with CRLF alone, and would find the end of them elsewhere.
            Place::Trailers if !line.ends_with(b"\r") => return Err(Doubt),
            Place::Trailers | Place::Body(_) | Place::Chunk(_) | Place::Lost => {}
        }
        Ok(())
    }

    fn head_ended(&mut self) -> Result<(), Doubt> {
        let head = std::mem::take(&mut self.head);
        self.place = match (head.chunked, head.length) {
            (false, Length::None | Length::One(0)) => Place::Head,
            (false, Length::One(length)) => Place::Body(length),
            (true, Length::None) => Place::ChunkSize,
            (true, Length::One(_)) | (_, Length::Doubtful) => return Err(Doubt),
        };
        self.heads += 1;
        Ok(())
    }
}

struct Doubt;

impl Head {
    fn field(&mut self, line: &[u8]) {
        if let Some(value) = value_of(b"content-length", line) {
            self.length = match (self.length, length(value)) {
                // What did not fit may be further digits.
                (Length::None, Some(length)) if line.len() < LINE => Length::One(length),
                _ => Length::Doubtful,
            };
        }
        self.chunked |= value_of(b"transfer-encoding", line).is_some();
    }
}

/// The value when `line` is a field of this name, which is in lower case.
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    value.strip_prefix(b":").filter(|_| own.eq_ignore_ascii_case(name))
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
}

/// The size before an extension or the end of the line (RFC 9112 section 7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit())?;
    let digits = std::str::from_utf8(&line[..end]).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
