use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

fn line(text: &str) -> Result<Header, Malformed> {
    Header::of_line(text.as_bytes())
}

fn client(address: &str) -> Result<Header, Malformed> {
    Ok(Header::Client(address.parse().unwrap()))
}

#[test]
fn a_line_names_the_client() {
    assert_eq!(line("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n"), client("192.0.2.1:4711"));
    assert_eq!(line("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n"), client("[2001:db8::1]:4711"));
    assert_eq!(line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), client("255.255.255.255:65535"));
    assert_eq!(line("PROXY UNKNOWN\r\n"), Ok(Header::Itself));
    assert_eq!(line("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), Ok(Header::Itself));
}

#[test]
fn a_line_that_no_proxy_writes_is_refused() {
    for text in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 1\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 4711 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 4711 443\r\n",
        "PROXY\tTCP4 192.0.2.1 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 04711 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +4711 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 x\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::2 4711 443\r\n",
        "PROXY TCP4 ::1 ::1 4711 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 4711 443\r\n",
        "PROXY TCP6 fe80::1%1 ::1 4711 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 4711 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 4711 443\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        assert_eq!(line(text), Err(Malformed), "{text:?}");
    }
}

/// Version 2 behind its signature.
fn binary(version_and_command: u8, family: u8, addresses: &[u8]) -> Result<Header, Malformed> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    let start = Start::of([version_and_command, family, length[0], length[1]])?;
    Ok(start.header(&addresses[..start.addresses_length()]))
}

#[test]
fn the_binary_header_says_the_same() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];
    assert_eq!(binary(0x21, 0x11, &v4), client("192.0.2.1:4711"));
    // With more behind the addresses.
    assert_eq!(binary(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), client("192.0.2.1:4711"));
    let mut v6 = [0; 36];
    (v6[..4]).copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    (v6[15], v6[32], v6[33]) = (1, 0x12, 0x67);
    assert_eq!(binary(0x21, 0x21, &v6), client("[2001:db8::1]:4711"));
    for (command, family) in [(0x20, 0x11), (0x20, 0x00), (0x21, 0x00), (0x21, 0x31)] {
        assert_eq!(binary(command, family, &[0; 216]), Ok(Header::Itself));
    }
}

#[test]
fn a_binary_header_that_no_proxy_writes_is_refused() {
    for (command, family, length) in [
        (0x11, 0x11, 12),
        (0x31, 0x11, 12),
        (0x22, 0x11, 12),
        (0x2f, 0x11, 12),
        (0x21, 0x12, 12),
        (0x21, 0x22, 36),
        (0x21, 0x41, 12),
        (0x21, 0x13, 12),
        (0x21, 0x11, 11),
        (0x21, 0x21, 35),
        (0x21, 0x11, LONGEST_REST + 1),
    ] {
        assert_eq!(binary(command, family, &vec![0; length]), Err(Malformed), "{command:x} {family:x} {length}");
    }
}

/// What is read off a connection, and what is left of it.
async fn read_off(pieces: Vec<Vec<u8>>) -> (io::Result<Header>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sender = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for piece in pieces {
            let _ = stream.write_all(&piece).await;
            tokio::task::yield_now().await;
        }
        let _ = stream.shutdown().await;
        stream
    };
    let receiver = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let header = read(&mut stream).await;
        let mut rest = Vec::new();
        if header.is_ok() {
            stream.read_to_end(&mut rest).await.unwrap();
        }
        (header, rest)
    };
    let (_open, received) = tokio::join!(sender, receiver);
    received
}

#[tokio::test]
async fn what_follows_a_header_is_left_where_it_is() {
    let v2 = [&SIGNATURE[..], &[0x21, 0x11, 0, 15], &[192, 0, 2, 1, 1, 1, 1, 1, 0, 7, 0, 8], b"tlv"].concat();
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.1 1.1.1.1 7 8\r\n".to_vec(), client("192.0.2.1:7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Ok(Header::Itself)),
        (v2, client("192.0.2.1:7")),
    ] {
        let whole = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        let by_bytes = whole.iter().map(|byte| vec![*byte]).collect();
        for pieces in [vec![whole.clone()], by_bytes] {
            let (header, rest) = read_off(pieces).await;
            assert_eq!(header.unwrap(), expected.as_ref().copied().unwrap());
            assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
        }
    }
}

#[tokio::test]
async fn what_is_no_header_or_ends_within_one_is_an_error() {
    for wire in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.1 1.1.1.1 7",
        b"PROXY TCP4 192.0.2.1 1.1.1.1 7 8                                                                               8\r\n",
        b"PROXY",
        b"",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
    ] {
        assert!(read_off(vec![wire.to_vec()]).await.0.is_err(), "{wire:?}");
    }
}

proptest! {
    #[test]
    fn whatever_a_proxy_writes_is_read_as_it_was_meant(source: std::net::SocketAddr, destination_port: u16) {
        let source = SocketAddr::new(source.ip(), source.port());
        let (family, own, to) = match source.ip() {
            IpAddr::V4(_) => ("TCP4", source.ip().to_string(), "127.0.0.1"),
            IpAddr::V6(_) => ("TCP6", source.ip().to_string(), "::1"),
        };
        let text = format!("PROXY {family} {own} {to} {} {destination_port}\r\n", source.port());
        prop_assert!(text.len() <= LONGEST_LINE);
        prop_assert_eq!(line(&text), Ok(Header::Client(source)));

        let (family, octets) = match source.ip() {
            IpAddr::V4(v4) => (0x11, [&v4.octets()[..], &[1; 4]].concat()),
            IpAddr::V6(v6) => (0x21, [&v6.octets()[..], &[1; 16]].concat()),
        };
        let addresses = [octets, source.port().to_be_bytes().to_vec(), destination_port.to_be_bytes().to_vec()].concat();
        prop_assert_eq!(binary(0x21, family, &addresses), Ok(Header::Client(source)));
    }

    #[test]
    fn no_bytes_make_it_panic(text: Vec<u8>, start: [u8; 4]) {
        let _ = Header::of_line(&text);
        let _ = Header::of_line(&[WORD, &text, b"\r\n"].concat());
        if let Ok(start) = Start::of(start) {
            let _ = start.header(&vec![0; start.addresses_length()]);
        }
    }
}
