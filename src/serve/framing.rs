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
    /// The beginning of a line whose end has not come yet.
    line: Line,
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

#[derive(Clone, Copy, Debug)]
struct Line {
    bytes: [u8; LINE],
    length: usize,
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
                        self.line.push(bytes);
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
        if self.line.length == 0 {
            return self.take(end);
        }
        self.line.push(end);
        let line = std::mem::take(&mut self.line);
        self.take(&line.bytes[..line.length])
    }

    /// A line without its line feed, or the beginning of a long one.
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
            Place::Trailers if line.len() < LINE && !line.ends_with(b"\r") => return Err(Doubt),
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

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(LINE - self.length);
        self.bytes[self.length..self.length + fits].copy_from_slice(&bytes[..fits]);
        self.length += fits;
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; LINE], length: 0 }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn doubt(wire: &[u8]) -> Option<u64> {
        FramingWatch::default().scan(wire)
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn plain_messages_raise_no_doubt_wherever_they_end() {
        let post = "POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\nContent-Length: 5\r\nx: y\r\n\r\n";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                       1a;x=y\r\nContent-Length: 5\r\nx: y\r\n\r\r\n0\r\nX-Sum: 1\r\n\r\n";
        let wire = [GET, post, "\r\n", chunked, GET, chunked, post].concat();
        assert_eq!(doubt(wire.as_bytes()), None);
        let mut watch = FramingWatch::default();
        watch.scan(wire.as_bytes());
        assert_eq!((watch.heads, watch.place), (6, Place::Head));
    }

    #[test]
    fn a_head_with_both_framings_or_two_lengths_is_in_doubt() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "transfer-encoding:chunked\r\nX: y\r\nCONTENT-LENGTH:5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nContent-Length: nonsense",
            "Content-Length: 0\r\nX: y\r\ncontent-length: 0",
            "Content-Length: 0\nTransfer-Encoding: chunked",
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert_eq!(doubt(head.as_bytes()), Some(0), "{fields}");
            let later = format!("{GET}{GET}{head}{GET}");
            assert_eq!(doubt(later.as_bytes()), Some(2), "{fields}");
        }
    }

    #[test]
    fn a_length_that_may_go_on_is_in_doubt() {
        let head = format!("POST / HTTP/1.1\r\nContent-Length:{}5\r\n\r\n", " ".repeat(LINE));
        assert_eq!(doubt(head.as_bytes()), Some(0));
    }

    #[test]
    fn names_that_only_begin_alike_are_other_fields() {
        let head = "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length-X: 5\r\nX-Content-Length: 5\r\n\
                    Transfer-Encodings: chunked\r\n\r\n";
        assert_eq!(doubt(head.as_bytes()), None);
    }

    #[test]
    fn after_trailers_that_end_elsewhere_all_is_in_doubt() {
        let wire = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n";
        assert_eq!(doubt(wire.as_bytes()), Some(1));
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_the_bytes_arrive(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "GET / HTTP/1.1\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "\r\n", "\n", "abc", "3\r\nabc\r\n",
                "0\r\n\r\n", "X: y\r\n", "fffffffffffffffff\r\n", "Content-Length: 99999999999999999999\r\n",
            ]), 0..24),
            cuts in proptest::collection::vec(1..40usize, 0..24),
        ) {
            let wire = pieces.concat();
            let mut watch = FramingWatch::default();
            let (mut rest, mut found) = (wire.as_bytes(), None);
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                found = found.or(watch.scan(now));
                rest = later;
            }
            found = found.or(watch.scan(rest));
            prop_assert_eq!(found, doubt(wire.as_bytes()));
        }

        #[test]
        fn any_bytes_are_followed_or_given_up(wire in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = doubt(&wire);
        }
    }
}
