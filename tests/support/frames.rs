//! HTTP/2 frames by hand, right and wrong, over a blocking socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What a stream or a connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Answer(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field section without compression (RFC 7541 section 6.2.2).
pub fn section(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut section = Vec::new();
    for (name, value) in fields {
        section.push(0);
        for text in [name.as_bytes(), value] {
            integer(&mut section, text.len());
            section.extend_from_slice(text);
        }
    }
    section
}

/// RFC 7541 section 5.1, with a prefix of seven bits.
pub fn integer(out: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return out.push(value as u8);
    }
    out.push(127);
    value -= 127;
    while value >= 128 {
        out.push((value % 128) as u8 | 128);
        value /= 128;
    }
    out.push(value as u8);
}

pub fn get(path: &str) -> Vec<(&str, &[u8])> {
    vec![(":method", b"GET"), (":scheme", b"http"), (":authority", b"gw.example"), (":path", path.as_bytes())]
}

pub fn post(path: &str) -> Vec<(&str, &[u8])> {
    vec![(":method", b"POST"), (":scheme", b"http"), (":authority", b"gw.example"), (":path", path.as_bytes())]
}

/// A client that says whatever it is told to.
pub struct RawClient {
    pub stream: TcpStream,
}

impl RawClient {
    /// Connects, and says hello with default settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        client.send(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
        client
    }

    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream }
    }

    /// A server that has closed meanwhile is no fault of the test.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload));
    }

    /// A request without a body.
    pub fn request(&mut self, stream: u32, fields: &[(&str, &[u8])]) {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &section(fields));
    }

    /// The next frame; `None` at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).ok()?;
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap()) & 0x7fff_ffff;
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// What `stream` comes to, or the connection. The rest of what comes is passed over.
    pub fn outcome(&mut self, stream: u32) -> End {
        loop {
            let Some(frame) = self.read() else { return End::Closed };
            match frame.kind {
                HEADERS if frame.stream == stream => return End::Answer(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return End::Reset(code(&frame.payload)),
                GOAWAY if code(&frame.payload[4..]) != 0 => return End::GoAway(code(&frame.payload[4..])),
                _ => {}
            }
        }
    }

    /// The data of `stream` up to its end.
    pub fn data(&mut self, stream: u32) -> Vec<u8> {
        let mut data = Vec::new();
        while let Some(frame) = self.read() {
            if frame.stream == stream && frame.kind == DATA {
                data.extend_from_slice(&frame.payload);
            }
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                return data;
            }
        }
        data
    }

    /// Reads until the server closes, and tells the code of its last GOAWAY.
    pub fn closed(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some(frame) = self.read() {
            if frame.kind == GOAWAY {
                last = Some(code(&frame.payload[4..]));
            }
        }
        last
    }
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// The status at the head of a field section: an index, or three digits under the name's index, plain or by Huffman's code
/// (RFC 7541 appendices A and B).
fn status(section: &[u8]) -> u16 {
    // A change of the table's size may come before.
    let section = section.strip_prefix(&[0x20]).or(section.strip_prefix(&[0x3f, 0xe1, 0x1f])).unwrap_or(section);
    match section {
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        [0x08 | 0x18 | 0x48, 3, digits @ ..] => std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        [0x08 | 0x18 | 0x48, coded, rest @ ..] if coded & 0x80 != 0 => {
            let bytes = &rest[..usize::from(coded & 0x7f)];
            let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
            let (mut at, mut status) = (0, 0);
            for _ in 0..3 {
                let take = |length| bits[at..at + length].iter().fold(0_u16, |value, bit| value << 1 | u16::from(*bit));
                let (digit, length) = match take(5) {
                    digit @ 0..=2 => (digit, 5),
                    _ => (take(6) - 0x19 + 3, 6),
                };
                (status, at) = (status * 10 + digit, at + length);
            }
            status
        }
        other => panic!("no status at the head of {other:02x?}"),
    }
}
