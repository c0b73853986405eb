//! Taking a body apart as its bytes come.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::names::read_fields;
use super::{Framing, Malformed};

/// A chunk's size line, with its extensions. They mean nothing to a gateway, and are dropped.
const MAX_SIZE_LINE: usize = 4 << 10;
/// What size lines may take beyond what chunks of a sensible size need, in all of a body: extensions on every byte cost their
/// reader fifty times what the limits on bodies count.
const MAX_EXCESS: u32 = 16 << 10;
/// The trailer section.
const MAX_TRAILERS: usize = 16 << 10;

/// A body that is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked {
        next: Chunked,
        /// What size lines took beyond what is allowed for: see [`MAX_EXCESS`].
        excess: u32,
    },
    UntilClose,
    /// The body has ended where it should.
    Ended,
}

/// What of a chunked body (RFC 9112 section 7.1) comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    DataEnd,
    Trailers,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Ended,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked { next: Chunked::Size, excess: 0 },
            Framing::UntilClose => Self::UntilClose,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self == Self::Ended
    }

    /// True when the end of the connection here is the end of the body.
    pub(crate) fn may_end_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose | Self::Ended)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Ended => SizeHint::with_exact(0),
            Self::Chunked { .. } | Self::UntilClose => SizeHint::default(),
        }
    }

    /// The next frame in `buffer`. `None` when more bytes are needed, or the body has ended.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        match self {
            Self::Ended => Ok(None),
            Self::UntilClose if buffer.is_empty() => Ok(None),
            Self::UntilClose => Ok(Some(Frame::data(buffer.split().freeze()))),
            Self::Length(left) => {
                let Some(data) = take_data(left, buffer) else { return Ok(None) };
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(Some(Frame::data(data)))
            }
            Self::Chunked { .. } => self.decode_chunked(buffer),
        }
    }

    fn decode_chunked(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        while let Self::Chunked { next, excess } = self {
            match next {
                Chunked::Size => {
                    let Some(line) = size_line(buffer)? else { return Ok(None) };
                    let size = chunk_size(&buffer[..line])?;
                    *excess = excess.saturating_add(line as u32).saturating_sub(allowance(size));
                    if *excess > MAX_EXCESS {
                        return Err(Malformed);
                    }
                    let _ = buffer.split_to(line + 2);
                    *next = if size == 0 { Chunked::Trailers } else { Chunked::Data(size) };
                }
                Chunked::Data(left) => {
                    let Some(data) = take_data(left, buffer) else { return Ok(None) };
                    if *left == 0 {
                        *next = Chunked::DataEnd;
                    }
                    return Ok(Some(Frame::data(data)));
                }
                Chunked::DataEnd => {
                    if !b"\r\n".starts_with(&buffer[..buffer.len().min(2)]) {
                        return Err(Malformed);
                    }
                    if buffer.len() < 2 {
                        return Ok(None);
                    }
                    let _ = buffer.split_to(2);
                    *next = Chunked::Size;
                }
                Chunked::Trailers => {
                    let Some(trailers) = read_trailers(buffer)? else { return Ok(None) };
                    *self = Self::Ended;
                    return Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)));
                }
            }
        }
        Ok(None)
    }
}

fn take_data(left: &mut u64, buffer: &mut BytesMut) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= size as u64;
    Some(buffer.split_to(size).freeze())
}

/// The length of the size line, without its end, once all of it is there.
fn size_line(buffer: &BytesMut) -> Result<Option<usize>, Malformed> {
    let searched = &buffer[..buffer.len().min(MAX_SIZE_LINE)];
    match searched.iter().position(|byte| *byte == b'\n') {
        // A line ends with both characters: a lone line feed is where one reader's line ends and another's does not.
        Some(end) if end > 0 && searched[end - 1] == b'\r' => Ok(Some(end - 1)),
        Some(_) => Err(Malformed),
        None if searched.len() == MAX_SIZE_LINE => Err(Malformed),
        None => Ok(None),
    }
}

/// `1*HEXDIG [ BWS ";" extension ]`
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // Space and tab alone: a carriage return is no white space, and no end of a line either.
    let white = line[digits..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let rest = &line[digits + white..];
    let extension_is_text = rest.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    if digits == 0
        || digits > 16
        || !(rest.is_empty() && digits == line.len() || rest.starts_with(b";"))
        || !extension_is_text
    {
        return Err(Malformed);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| Malformed)?;
    u64::from_str_radix(digits, 16).map_err(|_| Malformed)
}

/// How long the size line of a chunk may be without counting: its digits, and an extension in proportion.
fn allowance(size: u64) -> u32 {
    u32::try_from(size.saturating_mul(2)).unwrap_or(u32::MAX).saturating_add(16)
}

/// The trailer section once all of it is there.
fn read_trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if buffer.starts_with(b"\r\n") {
        let _ = buffer.split_to(2);
        return Ok(Some(HeaderMap::new()));
    }
    let searched = &buffer[..buffer.len().min(MAX_TRAILERS)];
    let Some(end) = searched.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return if searched.len() == MAX_TRAILERS { Err(Malformed) } else { Ok(None) };
    };
    let section = buffer.split_to(end + 4).freeze();
    // A lone line feed is where one reader's line ends and another's does not.
    if section.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || section[at - 1] != b'\r')) {
        return Err(Malformed);
    }
    read_fields(&section).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a chunked body decodes to, its bytes coming in these pieces.
    fn chunked(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<HeaderMap>, Decoder, usize), Malformed> {
        let (mut decoder, mut buffer) = (Decoder::new(Framing::Chunked), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), None);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut buffer)? {
                match frame.into_data() {
                    Ok(bytes) => data.extend_from_slice(&bytes),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                }
            }
        }
        Ok((data, trailers, decoder, buffer.len()))
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_chunk_and_keeps_what_follows() {
        let (data, trailers, decoder, left) =
            chunked(&[b"5;x=\"y\"\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nHTTP"]).unwrap();
        assert_eq!((data.as_slice(), trailers, decoder, left), (&b"hello0123456789"[..], None, Decoder::Ended, 4));
    }

    #[test]
    fn trailers_come_as_the_last_frame() {
        let (_, trailers, decoder, _) = chunked(&[b"0\r\nX-Sum: 7\r\nx-sum: 8\r\n\r\n"]).unwrap();
        let trailers = trailers.unwrap();
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["7", "8"]);
        assert!(decoder.has_ended());
    }

    #[test]
    fn what_is_not_a_chunk_is_malformed() {
        for bad in [
            &b"\r\n"[..],
            b"g\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\r\nhelloXX",
            b"5\r\nhello\n",
            b"10000000000000000\r\n",
            b"5;a\0b\r\nhello\r\n",
            b"5\r;x\r\nhello\r\n",
            b"5\x0c;x\r\nhello\r\n",
            b"0\r\nx-b: 9\nx-a: 1\r\n\r\n",
            b"5,5\r\nhello\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nname : value\r\n\r\n",
            b"0\r\na: b\r\n folded\r\n\r\n",
        ] {
            assert_eq!(chunked(&[bad]).err(), Some(Malformed), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn endless_lines_and_trailers_are_given_up() {
        assert_eq!(chunked(&[b"5;", &[b'x'; MAX_SIZE_LINE]]).err(), Some(Malformed));
        assert_eq!(chunked(&[b"0\r\na: ", &[b'x'; MAX_TRAILERS]]).err(), Some(Malformed));
    }

    #[test]
    fn extensions_are_given_up_where_they_are_more_than_what_they_extend() {
        let body = |chunk: &str, extension: usize, times: usize| {
            let line = format!("{:x};{}\r\n{chunk}\r\n", chunk.len(), "x".repeat(extension));
            chunked(&[line.repeat(times).as_bytes(), b"0\r\n\r\n"]).map(|(data, ..)| data.len())
        };
        assert_eq!(body("a", 60, 10_000), Err(Malformed));
        assert_eq!(body("a", 60, 100), Ok(100));
        assert_eq!(body("a", 16, 10_000), Ok(10_000));
        assert_eq!(body(&"a".repeat(100), 200, 10_000), Ok(1_000_000));
        assert_eq!(body("a", 4000, 4), Ok(4));
    }

    #[test]
    fn a_counted_body_takes_its_bytes_and_no_more() {
        let (mut decoder, mut buffer) = (Decoder::new(Framing::Length(5)), BytesMut::from("helloHTTP"));
        assert_eq!(decoder.size_hint().exact(), Some(5));
        let data = decoder.decode(&mut buffer).unwrap().unwrap().into_data().unwrap();
        assert_eq!((&data[..], decoder, &buffer[..]), (&b"hello"[..], Decoder::Ended, &b"HTTP"[..]));
    }

    proptest! {
        #[test]
        fn any_cut_of_a_chunked_body_decodes_to_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(1usize..30, 0..40),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\nx: y\r\n\r\n");
            let mut pieces = Vec::new();
            let mut rest = wire.as_slice();
            for cut in cuts {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            pieces.push(rest);
            let (data, trailers, decoder, left) = chunked(&pieces).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(trailers.is_some() && decoder.has_ended() && left == 0);
        }

        #[test]
        fn no_bytes_panic(wire: Vec<u8>) {
            let _ = chunked(&[&wire]);
        }
    }
}
