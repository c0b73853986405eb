//! An example of a plugin: it signs requests, so that an origin knows that they have passed this gateway.
//!
//! `X-Signature: t=1795258920,v1=<hex>` is the HMAC (RFC 2104) with SHA-256 of `t`, the method, the target and the subject,
//! each followed by a line break. The origin computes the same, compares in constant time, and takes no `t` that is older than a
//! minute or so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use http::{HeaderName, HeaderValue, Request};
use tower::{Layer, Service};
use tower_gateway::{BoxError, Head, Identity, NameSet, RequestContext};

use super::{Background, Plugin, PluginLayer};
use crate::config::settings::{Keys, PositiveDuration, Secret, Table};

/// `signature = { secret = "${SIGNING_KEY}" }`.
#[derive(Debug, PartialEq)]
pub(crate) struct Signature {
    secret: Secret,
    header: HeaderName,
    report_every: Option<Duration>,
}

impl Table for Signature {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let secret = keys.required::<Secret>("secret", "what the origin knows as well");
        let header = keys.or::<HeaderName>("header", "x-signature", "the field that holds the signature");
        let report_every =
            keys.optional::<PositiveDuration>("report_every", "tell on standard error how many were signed");
        Some(Self { secret: secret?, header, report_every })
    }
}

impl Plugin for Signature {
    fn layer(&self) -> Result<PluginLayer, BoxError> {
        let signed = Arc::new(AtomicU64::new(0));
        let report = self.report_every.map(|every| Background::spawn(report(every, signed.clone())));
        Ok(PluginLayer::new(Sign(Arc::new(Signer {
            key: hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose().as_bytes()),
            spellings: NameSet::new([self.header.clone()]),
            header: self.header.clone(),
            signed,
            _report: report,
        }))))
    }
}

async fn report(every: Duration, signed: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        eprintln!("signature: {} requests signed", signed.swap(0, Ordering::Relaxed));
    }
}

struct Signer {
    key: hmac::Key,
    header: HeaderName,
    spellings: NameSet,
    signed: Arc<AtomicU64>,
    /// Ends with the last of those who sign.
    _report: Option<Background>,
}

impl Signer {
    fn sign(&self, head: Head<'_>) -> Option<HeaderValue> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let target = head.uri().path_and_query().map_or("/", |target| target.as_str());
        let subject = head.context().and_then(RequestContext::identity).and_then(Identity::subject).unwrap_or_default();
        let text = format!("{time}\n{}\n{target}\n{subject}\n", head.method());
        let tag: String =
            hmac::sign(&self.key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::try_from(format!("t={time},v1={tag}")).ok()
    }
}

#[derive(Clone)]
struct Sign(Arc<Signer>);

impl<S> Layer<S> for Sign {
    type Service = Signed<S>;

    fn layer(&self, inner: S) -> Signed<S> {
        Signed { inner, signer: self.0.clone() }
    }
}

#[derive(Clone)]
struct Signed<S> {
    inner: S,
    signer: Arc<Signer>,
}

impl<S, B> Service<Request<B>> for Signed<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let signature = self.signer.sign(Head::of(&request));
        let headers = request.headers_mut();
        // Nobody but this gateway signs, in no spelling.
        self.signer.spellings.remove_from(headers);
        if let Some(signature) = signature {
            headers.insert(self.signer.header.clone(), signature);
            self.signer.signed.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.call(request)
    }
}
