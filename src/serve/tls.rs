//! TLS as a listener speaks it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::ClientCertificate;
use crate::alpn::Alpn;
use crate::tls::{ServerTls, client_certificate};

/// How long what a refused client still sends is read and thrown away: a socket that is closed over unread bytes takes
/// the alert, or the answer, with it.
const LINGER: Duration = Duration::from_secs(2);

/// For a request without TLS, as nginx has it. It is not known to be HTTP/1.1 of any kind, so this is all it is told.
const PLAIN_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 59\r\n\r\nThis is an HTTPS port, and the request came as plain HTTP.\n";

/// A connection with TLS.
pub(super) type Stream = TlsStream<Wire>;

/// How a handshake ended.
pub(super) enum Accepted {
    Client {
        transport: Box<Stream>,
        certificate: Option<ClientCertificate>,
        alpn: Alpn,
    },
    /// By something that is no TLS, or none that is wanted. An alert has been written where there is one.
    Refused {
        stream: TcpStream,
        last_word: &'static [u8],
    },
}

/// Does the handshake.
pub(super) async fn accept(stream: TcpStream, tls: &ServerTls) -> Accepted {
    let mut first = [0];
    match stream.peek(&mut first).await {
        // The methods that there are begin with a letter, and no record of TLS does.
        Ok(1) if first[0].is_ascii_alphabetic() => return Accepted::Refused { stream, last_word: PLAIN_REQUEST },
        Ok(1) => {}
        _ => return Accepted::Refused { stream, last_word: b"" },
    }
    let wire = Wire { stream, sent: 0 };
    match TlsAcceptor::from(tls.config()).accept(wire).into_fallible().await {
        Err((_, wire)) => Accepted::Refused { stream: wire.stream, last_word: b"" },
        Ok(transport) => {
            let session = transport.get_ref().1;
            match client_certificate(session) {
                Ok(certificate) => {
                    let alpn = Alpn::of(session.alpn_protocol());
                    Accepted::Client { transport: Box::new(transport), certificate, alpn }
                }
                Err(_) => Accepted::Refused { stream: transport.into_inner().0.stream, last_word: b"" },
            }
        }
    }
}

/// Says a last word, and closes so that it arrives.
pub(super) async fn refuse(mut stream: TcpStream, last_word: &[u8]) {
    let farewell = async {
        stream.write_all(last_word).await?;
        stream.shutdown().await?;
        let mut scrap = [0; 1024];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether it has arrived, nobody can tell.
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

/// The socket beneath TLS, which counts what goes out.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    sent: u64,
}

impl Wire {
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// How many bytes the kernel has taken.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Mostly there is one record, and for the kernel one piece is less work than a list of one.
        if let [record] = bufs {
            return self.poll_write(cx, record);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
