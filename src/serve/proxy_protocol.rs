//! The PROXY protocol: for whom a proxy has opened a connection (haproxy's `doc/proxy-protocol.txt`, versions 1 and 2).
//!
//! The rules are [`Header::of_line`] and [`Start::addresses`], which know nothing of sockets; [`read`] takes exactly the
//! header off one, and leaves what follows to whoever comes next.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// With CR LF: two IPv6 addresses and two ports.
const LONGEST_LINE: usize = 107;
/// What version 2 begins with, which no protocol that anyone speaks does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Beside the addresses a header may carry more, of which nothing is used here: a certificate of the client at most.
const LONGEST_REST: usize = 16 << 10;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The proxy speaks for the client at this address.
    Client(SocketAddr),
    /// It speaks for itself, or for a client of whom nothing is known: what the socket says stands.
    Itself,
}

/// The connection does not begin with a header, or with one that no proxy writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a header and not a byte more. There has to be a time by which it is there.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Header> {
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    let header = if first == SIGNATURE { read_binary(stream).await? } else { read_line(stream, &first).await? };
    header.map_err(|Malformed| io::ErrorKind::InvalidData.into())
}

async fn read_line(stream: &mut TcpStream, first: &[u8]) -> io::Result<Result<Header, Malformed>> {
    if !first.starts_with(WORD) {
        return Ok(Err(Malformed));
    }
    let mut line = [0; LONGEST_LINE];
    line[..first.len()].copy_from_slice(first);
    let mut length = first.len();
    while length < LONGEST_LINE {
        // Looked at first: what follows the line is not for here.
        let rest = &mut line[length..];
        let seen = stream.peek(rest).await?;
        let end = rest[..seen].iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let own = end.unwrap_or(seen);
        if own == 0 {
            break;
        }
        stream.read_exact(&mut rest[..own]).await?;
        length += own;
        if end.is_some() {
            return Ok(Header::of_line(&line[..length]));
        }
    }
    Ok(Err(Malformed))
}

async fn read_binary(stream: &mut TcpStream) -> io::Result<Result<Header, Malformed>> {
    let mut start = [0; 4];
    stream.read_exact(&mut start).await?;
    let Ok(start) = Start::of(start) else { return Ok(Err(Malformed)) };
    let mut addresses = [0; Start::LONGEST_ADDRESSES];
    let addresses = &mut addresses[..start.addresses_length()];
    stream.read_exact(addresses).await?;
    let mut left = usize::from(start.length) - addresses.len();
    let mut scrap = [0; 512];
    while left > 0 {
        let piece = left.min(scrap.len());
        stream.read_exact(&mut scrap[..piece]).await?;
        left -= piece;
    }
    Ok(Ok(start.header(addresses)))
}

impl Header {
    /// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443`, CR LF at its end.
    fn of_line(line: &[u8]) -> Result<Self, Malformed> {
        let line = line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(WORD)).ok_or(Malformed)?;
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
            return Ok(Self::Itself);
        }
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(Malformed);
        let (family, source, destination) = (word()?, word()?, word()?);
        let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
        if words.next().is_some() {
            return Err(Malformed);
        }
        let address = |text: &str| -> Result<IpAddr, Malformed> {
            match family {
                "TCP4" => text.parse::<Ipv4Addr>().map(Into::into).map_err(|_| Malformed),
                "TCP6" => text.parse::<Ipv6Addr>().map(Into::into).map_err(|_| Malformed),
                _ => Err(Malformed),
            }
        };
        // That it came to this address is for us to know; but a line that says nonsense of it is no line.
        let _ = (address(destination)?, destination_port);
        Ok(Self::Client(SocketAddr::new(address(source)?, source_port)))
    }
}

/// Decimal, without a sign or zeros before it.
fn port(digits: &str) -> Result<u16, Malformed> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain).ok_or(Malformed)
}

/// Version 2 behind its signature: what follows, and how long it is.
#[derive(Clone, Copy, Debug)]
struct Start {
    holds: Holds,
    length: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    V4,
    V6,
    /// Nothing that would be of use: the proxy checks whether we are there, or its client has no address.
    Nothing,
}

impl Start {
    const LONGEST_ADDRESSES: usize = 36;

    fn of(bytes: [u8; 4]) -> Result<Self, Malformed> {
        let [version_and_command, family, high, low] = bytes;
        let holds = match (version_and_command, family) {
            // LOCAL: whatever it says beside that is to be skipped.
            (0x20, _) => Holds::Nothing,
            (0x21, 0x11) => Holds::V4,
            (0x21, 0x21) => Holds::V6,
            // Of an unknown family, or of a UNIX socket.
            (0x21, 0x00 | 0x31) => Holds::Nothing,
            // Datagrams among them, which do not come over TCP.
            _ => return Err(Malformed),
        };
        let start = Self { holds, length: u16::from_be_bytes([high, low]) };
        let length = usize::from(start.length);
        let fits = (start.addresses_length()..=LONGEST_REST).contains(&length);
        if fits { Ok(start) } else { Err(Malformed) }
    }

    fn addresses_length(self) -> usize {
        match self.holds {
            Holds::V4 => 12,
            Holds::V6 => 36,
            Holds::Nothing => 0,
        }
    }

    /// Source, destination, source port, destination port.
    fn header(self, addresses: &[u8]) -> Header {
        let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
        match self.holds {
            Holds::V4 => {
                let octets: [u8; 4] = std::array::from_fn(|at| addresses[at]);
                Header::Client(SocketAddr::new(octets.into(), port(8)))
            }
            Holds::V6 => {
                let octets: [u8; 16] = std::array::from_fn(|at| addresses[at]);
                Header::Client(SocketAddr::new(octets.into(), port(32)))
            }
            Holds::Nothing => Header::Itself,
        }
    }
}

#[cfg(test)]
mod tests;
