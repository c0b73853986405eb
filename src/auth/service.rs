use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::challenge::Error;
use super::credential::{CredentialFault, PendingVerdict, Verdict};
use super::failures::FailureLimit;
use super::identity_headers::NotAHeaderValue;
use super::layer::Settings;
use super::rules::Lack;
use crate::body::ResponseBody;
use crate::readiness::Oneshot;
use crate::{ClientIp, Head, Identity, Reason, Rejection, RequestContext, recycle};

/// The service that [`AuthLayer`](super::AuthLayer) makes. It is always ready: the inner service is readied once it is known
/// who asks.
#[derive(Clone, Debug)]
pub struct Auth<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Auth<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = AuthFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !self.settings.gate.applies(&request) {
            return AuthFuture::admitted(&mut self.inner, request);
        }
        let context = &*RequestContext::get_or_insert(request.extensions_mut());
        // A trial changes nothing.
        if !self.settings.gate.dry_run {
            if !self.settings.headers.is_empty() {
                context.set_credential_headers(self.settings.headers.clone());
            }
            if !self.settings.identity_headers.is_empty() {
                context.set_identity_headers(self.settings.identity_headers.spellings().clone());
            }
        }
        match self.settings.begin(&Head::of(&request)) {
            Step::Decided(decision) => AuthFuture::decided(&self.settings, &mut self.inner, request, decision),
            Step::Waiting(asking) => {
                let waiting = Waiting { settings: self.settings.clone(), inner: self.inner.clone(), request };
                AuthFuture { state: State::Asking { asking: Some(Box::new((asking, waiting))) } }
            }
        }
    }
}

/// What has come out.
enum Decision {
    Admitted(Option<Identity>),
    Refused(Refused),
}

enum Refused {
    Unauthenticated,
    Credential(CredentialFault),
    Lacking(Lack),
    /// Who it is cannot be told to an origin.
    Untellable,
    TooManyFailures(Duration),
}

enum Step {
    Decided(Decision),
    Waiting(Asking),
}

/// A look-up that is waited for, and what is known so far.
struct Asking {
    pending: PendingVerdict,
    /// The kinds of credential that were asked before, and this one.
    asked: usize,
    found: Option<Identity>,
}

impl Settings {
    fn begin(&self, head: &Head<'_>) -> Step {
        if self.rules.is_open(head) {
            return Step::Decided(Decision::Admitted(None));
        }
        let over = self.failures_of(head).and_then(|(failures, client)| failures.refused(client));
        match over {
            None => self.ask(head, 0, None),
            Some(after) => Step::Decided(self.without_a_look(head, after)),
        }
    }

    /// Asks each kind of credential from the one at `first`. Every credential that is there has to be good.
    fn ask(&self, head: &Head<'_>, first: usize, mut found: Option<Identity>) -> Step {
        for (at, credential) in self.credentials.iter().enumerate().skip(first) {
            match credential.verdict(head) {
                Verdict::Absent => {}
                Verdict::Accepted(identity) => found = found.or(Some(identity)),
                Verdict::Refused(fault) => return self.refuse(head, at, fault),
                Verdict::Pending(pending) => return Step::Waiting(Asking { pending, asked: at + 1, found }),
            }
        }
        Step::Decided(self.decide(head, found))
    }

    /// For a client that fails too often: who was known a moment ago is, and no other credential is looked at.
    fn without_a_look(&self, head: &Head<'_>, after: Duration) -> Decision {
        let known = self.credentials.iter().find_map(|credential| credential.recall(head));
        match known {
            None if self.carries_any(head) => Decision::Refused(Refused::TooManyFailures(after)),
            known => self.decide(head, known),
        }
    }

    fn carries_any(&self, head: &Head<'_>) -> bool {
        let own = || self.credentials.iter().flat_map(|credential| credential.headers());
        head.headers().contains_key(AUTHORIZATION) || own().any(|name| head.headers().contains_key(name))
    }

    /// Refuses what the credential `at` this place of the list says is no good.
    fn refuse(&self, head: &Head<'_>, at: usize, fault: CredentialFault) -> Step {
        // What cannot be told is no failure of the client's.
        if let (Some((failures, client)), false) =
            (self.failures_of(head), matches!(fault, CredentialFault::Unavailable(_)))
        {
            failures.record(client, at, self.credentials[at].sent(head));
        }
        Step::Decided(Decision::Refused(Refused::Credential(fault)))
    }

    fn failures_of<'a>(&'a self, head: &Head<'a>) -> Option<(&'a FailureLimit, &'a ClientIp)> {
        Some((self.failures.as_ref()?, head.context()?.client_ip()?))
    }

    fn decide(&self, head: &Head<'_>, found: Option<Identity>) -> Decision {
        // An outer layer may have found out before.
        let known = found.as_ref().or_else(|| head.context()?.identity());
        match known {
            Some(identity) => match self.rules.check(identity, head) {
                Ok(()) => Decision::Admitted(found),
                Err(lack) => Decision::Refused(Refused::Lacking(lack)),
            },
            // Of a scheme that nobody here understands, which makes it a credential that is not accepted.
            None if head.headers().contains_key(AUTHORIZATION) => {
                if let (Some((failures, client)), Some(sent)) =
                    (self.failures_of(head), head.headers().get(AUTHORIZATION))
                {
                    failures.record(client, usize::MAX, Some(sent.as_bytes()));
                }
                let fault = CredentialFault::Invalid("the scheme of the credential is not accepted");
                Decision::Refused(Refused::Credential(fault))
            }
            None if self.rules.optional => Decision::Admitted(None),
            None => Decision::Refused(Refused::Unauthenticated),
        }
    }

    /// Puts in who it is. A trial changes nothing.
    fn tell<B>(&self, request: &mut Request<B>) -> Result<(), NotAHeaderValue> {
        if self.identity_headers.is_empty() || self.gate.dry_run {
            return Ok(());
        }
        let values = self.identity_headers.values(&Head::of(request))?;
        self.identity_headers.write(request.headers_mut(), values);
        Ok(())
    }

    /// The answer, or none in a dry run.
    fn answer(&self, head: Head<'_>, refused: Refused) -> Option<Response<Bytes>> {
        let (rejection, error) = self.rejection(&refused);
        let mut answer = self.gate.refuse(head, rejection)?;
        if let Some(error) = error {
            self.challenges.write(answer.headers_mut(), error);
        }
        Some(answer)
    }

    fn rejection(&self, refused: &Refused) -> (Rejection, Option<Error<'_>>) {
        let of = |reason| Rejection::new("auth", reason);
        match refused {
            Refused::Unauthenticated => (of(Reason::Unauthenticated), Some(Error::None)),
            Refused::Credential(CredentialFault::Unavailable(after)) => {
                (of(Reason::AuthUnavailable).retry_after(*after), None)
            }
            Refused::Credential(CredentialFault::Malformed) => {
                let detail = "the credential must be one, in one field, behind one space";
                (of(Reason::InvalidCredential).detail(detail), Some(Error::InvalidRequest))
            }
            Refused::Credential(CredentialFault::Invalid(why)) => {
                (of(Reason::InvalidCredential).detail(*why), Some(Error::InvalidToken(why)))
            }
            Refused::Credential(CredentialFault::Token(fault)) => {
                let why = fault.as_str();
                (of(Reason::InvalidCredential).detail(why), Some(Error::InvalidToken(why)))
            }
            Refused::Lacking(lack) => {
                let scopes: &[Box<str>] = if *lack == Lack::Scope { &self.rules.scopes } else { &[] };
                (of(Reason::AccessDenied), Some(Error::InsufficientScope(scopes)))
            }
            Refused::Untellable => {
                (of(Reason::AccessDenied).detail("the identity holds what no header field may"), None)
            }
            Refused::TooManyFailures(after) => (of(Reason::TooManyFailures).retry_after(*after), None),
        }
    }
}

struct Waiting<S, B> {
    settings: Arc<Settings>,
    inner: S,
    request: Request<B>,
}

pin_project! {
    /// The future of [`Auth`].
    pub struct AuthFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, Oneshot<S, Request<B>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        // Boxed, as the look-up is: what waits for nothing need not be as large as what does.
        Asking { asking: Option<Box<(Asking, Waiting<S, B>)>> },
        Called { #[pin] call: F },
        Answered { answer: Option<Response<Bytes>> },
    }
}

impl<S, B> AuthFuture<S, B>
where
    S: Service<Request<B>> + Clone,
{
    fn admitted(inner: &mut S, request: Request<B>) -> Self {
        Self { state: State::Called { call: Oneshot::start(inner, request) } }
    }

    fn decided(settings: &Settings, inner: &mut S, mut request: Request<B>, decision: Decision) -> Self {
        match decision {
            Decision::Admitted(identity) => {
                if let Some(identity) = identity {
                    if settings.as_extension {
                        request.extensions_mut().insert(identity.clone());
                    }
                    RequestContext::get_or_insert(request.extensions_mut()).set_identity(identity);
                }
                match settings.tell(&mut request) {
                    Ok(()) => Self::admitted(inner, request),
                    Err(NotAHeaderValue) => {
                        Self::decided(settings, inner, request, Decision::Refused(Refused::Untellable))
                    }
                }
            }
            Decision::Refused(refused) => match settings.answer(Head::of(&request), refused) {
                Some(answer) => {
                    recycle::give_request(request);
                    Self { state: State::Answered { answer: Some(answer) } }
                }
                // A dry run.
                None => Self::admitted(inner, request),
            },
        }
    }
}

impl<S, B, R> Future for AuthFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Asking { asking } => {
                    let (now, waiting) = &mut **asking.as_mut().expect("polled after it had completed");
                    let verdict = ready!(now.pending.as_mut().poll(cx));
                    let head = Head::of(&waiting.request);
                    let step = match verdict {
                        Ok(identity) => waiting.settings.ask(&head, now.asked, now.found.take().or(Some(identity))),
                        Err(fault) => waiting.settings.refuse(&head, now.asked - 1, fault),
                    };
                    match step {
                        Step::Waiting(next) => *now = next,
                        Step::Decided(decision) => {
                            let (_, waiting) = *asking.take().expect("it was there just now");
                            let Waiting { settings, mut inner, request } = waiting;
                            let next = AuthFuture::decided(&settings, &mut inner, request, decision);
                            this.state.set(next.state);
                        }
                    }
                }
                StateProj::Called { call } => {
                    let response = ready!(call.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Answered { answer } => {
                    let answer = answer.take().expect("polled after it had completed");
                    return Poll::Ready(Ok(answer.map(ResponseBody::own)));
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B> std::fmt::Debug for AuthFuture<S, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Asking { .. } => "asking",
            State::Called { .. } => "called",
            State::Answered { .. } => "answered",
        };
        f.debug_struct("AuthFuture").field("state", &state).finish()
    }
}
