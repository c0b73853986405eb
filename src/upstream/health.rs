//! Asking servers whether they are well, off the way of any request.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{Either, select};
use http::header::USER_AGENT;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::connect::{Offer, connect, secure};
use super::h1::encode::RequestFraming;
use super::h1::head::read_head;
use super::h2::request::head;
use super::server::Server;
use super::spoken::Spoken;
use super::stream::Stream;
use super::upstream::Shared;
use crate::random::up_to;

/// How a server is asked whether it is well.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    question: Question,
    interval: Duration,
    timeout: Duration,
    unhealthy_after: u32,
    healthy_after: u32,
}

#[derive(Clone, Debug)]
enum Question {
    Http { path: PathAndQuery, statuses: Vec<StatusCode>, says: Option<String> },
    Tcp,
}

/// How much of an answer is looked at.
const MOST: usize = 64 << 10;

impl HealthCheck {
    /// `GET path` below the server's base, on a connection of its own, is to be answered with a 200 or a 204.
    pub fn http(path: PathAndQuery) -> Self {
        let statuses = vec![StatusCode::OK, StatusCode::NO_CONTENT];
        Self::new(Question::Http { path, statuses, says: None })
    }

    /// It is to accept a connection.
    pub fn tcp() -> Self {
        Self::new(Question::Tcp)
    }

    fn new(question: Question) -> Self {
        Self {
            question,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }

    /// Other statuses to be answered with. Of no meaning to a check by TCP.
    #[must_use]
    pub fn statuses(mut self, expected: impl IntoIterator<Item = StatusCode>) -> Self {
        if let Question::Http { statuses, .. } = &mut self.question {
            *statuses = expected.into_iter().collect();
        }
        self
    }

    /// The first 64 KiB of the answer are to hold this text. Of no meaning to a check by TCP.
    #[must_use]
    pub fn says(mut self, text: impl Into<String>) -> Self {
        if let Question::Http { says, .. } = &mut self.question {
            *says = Some(text.into());
        }
        self
    }

    /// How long to wait between two questions, with a tenth to either side by chance. 5 s by default.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long an answer may take. 1 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// After how many bad answers in a row a server is left out. 3 by default.
    #[must_use]
    pub fn unhealthy_after(mut self, answers: u32) -> Self {
        self.unhealthy_after = answers.max(1);
        self
    }

    /// After how many good answers in a row it is used again. 2 by default.
    #[must_use]
    pub fn healthy_after(mut self, answers: u32) -> Self {
        self.healthy_after = answers.max(1);
        self
    }

    /// Asks one server again and again, for as long as the upstream is there.
    pub(super) async fn watch(self, upstream: Weak<Shared>, server: Arc<Server>, dns_refresh: Duration) {
        let (mut good, mut bad) = (0u32, 0u32);
        loop {
            let well = timeout(self.timeout, self.ask(&server, dns_refresh)).await.unwrap_or(false);
            let Some(upstream) = upstream.upgrade().filter(|_| !server.is_retired()) else { return };
            (good, bad) = if well { (good.saturating_add(1), 0) } else { (0, bad.saturating_add(1)) };
            let news = match well {
                true if good >= self.healthy_after => server.condition.set_checked(true),
                false if bad >= self.unhealthy_after => server.condition.set_checked(false),
                _ => false,
            };
            if news {
                upstream.count_healthy(&upstream.fleet.load().servers);
            }
            drop(upstream);
            sleep(self.interval.mul_f64(0.9) + up_to(self.interval / 5)).await;
        }
    }

    async fn ask(&self, server: &Server, dns_refresh: Duration) -> bool {
        let Ok(addresses) = server.resolver.addresses(dns_refresh).await else { return false };
        let Ok(stream) = connect(&addresses, 0, self.timeout).await else { return false };
        match &self.question {
            Question::Tcp => true,
            Question::Http { path, statuses, says } => {
                let Some(path) = server.origin().path(path) else { return false };
                let Ok(mut stream) = secure(server, stream, Offer::All).await else { return false };
                let says = says.as_deref();
                let is_http2 = match server.spoken() {
                    Spoken::Http1 => false,
                    Spoken::Http2 => true,
                    Spoken::Agreed => stream.has_agreed_on_http2(),
                };
                let answer = match is_http2 {
                    true => exchange_http2(stream, server, &path, says).await,
                    false => exchange(&mut stream, server, path.as_str(), says).await,
                };
                answer.is_some_and(|status| statuses.contains(&status))
            }
        }
    }
}

/// The status of the answer, once it has said what it is to say.
async fn exchange(stream: &mut Stream, server: &Server, path: &str, says: Option<&str>) -> Option<StatusCode> {
    let host = server.host().to_str().ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: tower-gateway\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut received = BytesMut::new();
    let head = loop {
        match read_head(&mut received).ok()? {
            Some(head) if head.status.is_informational() => continue,
            Some(head) => break head,
            None if received.len() > MOST => return None,
            None if stream.read_buf(&mut received).await.ok()? == 0 => return None,
            None => {}
        }
    };
    let text = says.unwrap_or_default().as_bytes();
    while !text.is_empty() && !received.windows(text.len()).any(|part| part == text) {
        if received.len() > MOST || stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
    Some(head.status)
}

/// The same over HTTP/2.
async fn exchange_http2(
    stream: Stream,
    server: &Server,
    path: &PathAndQuery,
    says: Option<&str>,
) -> Option<StatusCode> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("tower-gateway"));
    let origin = server.origin();
    let head = head(&Method::GET, origin.scheme(), server.host(), path.clone(), &headers, RequestFraming::None)?;
    let (mut sender, connection) = h2::client::handshake(stream).await.ok()?;
    let ask = async {
        let (answer, _) = sender.send_request(head, true).ok()?;
        let (parts, mut body) = answer.await.ok()?.into_parts();
        let (text, mut received) = (says.unwrap_or_default().as_bytes(), Vec::new());
        while !text.is_empty() && !received.windows(text.len()).any(|part| part == text) {
            let piece = body.data().await?.ok()?;
            body.flow_control().release_capacity(piece.len()).ok()?;
            received.extend_from_slice(&piece);
            if received.len() > MOST {
                return None;
            }
        }
        Some(parts.status)
    };
    match select(pin!(ask), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => None,
    }
}
