use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use smallvec::{SmallVec, smallvec};
use tower_service::Service;

use super::future::RateLimitFuture;
use super::headers::{AllTerms, Audience, Report, Terms};
use super::layer::{OnStoreError, Settings};
use super::limit::{AnswerHead, MissingKey};
use super::{Charge, Charges, Decision, Store};
use crate::body::ResponseBody;
use crate::{Head, Oneshot, Reason, Rejection, RequestContext};

/// The service that [`RateLimitLayer`](super::RateLimitLayer) makes.
pub struct RateLimit<S, St = super::MemoryStore> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings<St>>,
}

/// What a request is charged, by which limits, and on which terms.
pub(super) struct Bill {
    pub(super) charges: Charges,
    terms: AllTerms,
    /// Where each charge comes from among the layer's limits.
    limits: SmallVec<[u8; 8]>,
}

/// What is still to be done when the answer is there.
pub(super) struct After<St> {
    /// None where nothing is told.
    report: Option<Report>,
    /// Only where the answer has a price.
    settlement: Option<Box<Settlement<St>>>,
}

struct Settlement<St> {
    settings: Arc<Settings<St>>,
    bill: Bill,
}

/// A request that its limits have looked at.
enum Judged {
    Passes,
    /// It passes, and its answer says how things stand.
    Counted(Decision),
    Refused(Response<Bytes>),
}

impl<S, St, B, R> Service<Request<B>> for RateLimit<S, St>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    St: Store,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, B, R, St>;

    /// Always: the inner service is readied when a request has been admitted.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    // What is called puts its future where it is to stand; what is inlined makes it elsewhere, and moves it there.
    #[inline(never)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        if !settings.gate.applies(&request) {
            return RateLimitFuture::calling(Oneshot::start(&mut self.inner, request), None);
        }
        // The quick way of nearly all requests.
        let head = Head::of(&request).with_its_context();
        // By reference: what has just been written in parts is not to be read at once in order to be moved.
        let charged = settings.the_only_charge(&head);
        if let Some((charge, terms)) = &charged
            && let Some(decision) = &settings.store.now(std::slice::from_ref(charge))
        {
            if !decision.admitted {
                let bill = Bill { charges: smallvec![*charge], terms: smallvec![terms.clone()], limits: smallvec![0] };
                return settings.clone().admit(*decision, bill, &mut self.inner, request);
            }
            let report = settings.audience(&head).map(|to| Report::new(to, terms.clone(), decision, &settings.clock));
            let after = report.map(|report| After { report: Some(report), settlement: None });
            return RateLimitFuture::calling(Oneshot::start(&mut self.inner, request), after);
        }
        let bill = match settings.bill(head) {
            Ok(bill) if bill.charges.is_empty() => {
                return RateLimitFuture::calling(Oneshot::start(&mut self.inner, request), None);
            }
            Ok(bill) => bill,
            Err(refusal) => return RateLimitFuture::own(*refusal),
        };
        match settings.store.now(&bill.charges) {
            Some(decision) => settings.clone().admit(decision, bill, &mut self.inner, request),
            None => {
                let asked = settings.store.acquire(&bill.charges);
                RateLimitFuture::asking(asked, settings.clone(), bill, self.inner.clone(), request)
            }
        }
    }
}

impl<St: Store> Settings<St> {
    /// By the limit, where there is one, and its price is known before.
    #[inline(always)]
    fn the_only_charge(&self, head: &Head<'_>) -> Option<(Charge, Terms)> {
        let [only] = &self.limits[..] else { return None };
        if only.limit.is_priced() {
            return None;
        }
        only.limit.charge(&only.digests, head)
    }

    /// What the request is charged, or the refusal of one that has no key.
    fn bill(&self, head: Head<'_>) -> Result<Bill, Box<Response<Bytes>>> {
        let mut bill = Bill { charges: Charges::new(), terms: AllTerms::new(), limits: SmallVec::new() };
        for (n, prepared) in self.limits.iter().enumerate() {
            match prepared.limit.charge(&prepared.digests, &head) {
                Some((charge, terms)) => {
                    bill.charges.push(charge);
                    bill.terms.push(terms);
                    bill.limits.push(u8::try_from(n).unwrap_or(u8::MAX));
                }
                None => {
                    self.counters.missing_keys.fetch_add(1, Ordering::Relaxed);
                    if prepared.limit.missing() == MissingKey::Refuse {
                        let detail =
                            format!("the request has nothing that the limit {} counts by", prepared.limit.name());
                        let rejection = Rejection::new(LAYER, Reason::RateLimitKeyMissing).detail(detail);
                        if let Some(refusal) = self.gate.refuse(head, rejection) {
                            return Err(Box::new(refusal));
                        }
                    }
                }
            }
        }
        Ok(bill)
    }

    /// Calls the inner service, or answers, as the store has decided.
    pub(super) fn admit<S, B, R>(
        self: Arc<Self>,
        decision: Decision,
        mut bill: Bill,
        inner: &mut S,
        request: Request<B>,
    ) -> RateLimitFuture<S, B, R, St>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
    {
        match self.judge(decision, &bill, Head::of(&request)) {
            Judged::Refused(refusal) => RateLimitFuture::own(refusal),
            Judged::Passes => RateLimitFuture::calling(Oneshot::start(inner, request), None),
            Judged::Counted(decision) => {
                let priced = self.is_priced(&bill);
                let head = Head::of(&request);
                let terms = if priced { bill.terms.clone() } else { std::mem::take(&mut bill.terms) };
                let to = self.audience(&head);
                let report = to.and_then(|to| Report::of_all(to, terms, &decision, &self.clock));
                let settlement = priced.then(|| Box::new(Settlement { settings: self, bill }));
                let after = (report.is_some() || priced).then_some(After { report, settlement });
                RateLimitFuture::calling(Oneshot::start(inner, request), after)
            }
        }
    }

    /// What becomes of a request for which the store has no answer.
    pub(super) fn admit_without_the_store<S, B, R>(
        self: Arc<Self>,
        bill: Bill,
        inner: &mut S,
        request: Request<B>,
    ) -> RateLimitFuture<S, B, R, St>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
    {
        self.counters.store_errors.fetch_add(1, Ordering::Relaxed);
        match &self.on_store_error {
            OnStoreError::Open => RateLimitFuture::calling(Oneshot::start(inner, request), None),
            OnStoreError::Closed => {
                let rejection = Rejection::new(LAYER, Reason::RateLimitUnavailable);
                match self.gate.refuse(Head::of(&request), rejection) {
                    Some(refusal) => RateLimitFuture::own(refusal),
                    None => RateLimitFuture::calling(Oneshot::start(inner, request), None),
                }
            }
            OnStoreError::Local { store, share: (part, whole) } => {
                let local = bill.charges.iter().map(|charge| {
                    let mut charge = *charge;
                    charge.quota = charge.quota.share(*part, *whole);
                    charge
                });
                let decision = store.acquire_now(&local.collect::<Charges>());
                self.clone().admit(decision, bill, inner, request)
            }
        }
    }

    fn judge(&self, decision: Decision, bill: &Bill, head: Head<'_>) -> Judged {
        if decision.admitted {
            return Judged::Counted(decision);
        }
        let counter = if self.gate.dry_run { &self.counters.would_refuse } else { &self.counters.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        let Some(mut refusal) = self.gate.refuse(head, self.rejection(&decision, bill)) else { return Judged::Passes };
        let to = self.audience(&head);
        if let Some(report) = to.and_then(|to| Report::of_all(to, bill.terms.clone(), &decision, &self.clock)) {
            report.tell(&mut refusal);
        }
        Judged::Refused(refusal)
    }

    fn rejection(&self, decision: &Decision, bill: &Bill) -> Rejection {
        let mut retry_after = decision.retry_after;
        if !self.retry_jitter.is_zero() {
            retry_after = retry_after.saturating_add(self.retry_jitter.mul_f64(jitter()));
        }
        let rejection = Rejection::new(LAYER, Reason::RateLimitExceeded).retry_after(retry_after);
        let (Some(limit), Some(terms)) = (bill.limits.get(decision.charge), bill.terms.get(decision.charge)) else {
            return rejection;
        };
        let name = self.limits[usize::from(*limit)].limit.shared_name();
        rejection.detail(format!("the quota {name} of {} is used up", terms.quota)).violated_policy(name.clone())
    }

    /// Whom the answer to this request will tell what, if it says anything.
    #[inline(always)]
    fn audience(&self, head: &Head<'_>) -> Option<Audience> {
        if self.headers.is_none() {
            return None;
        }
        let is_heard = head.context().is_some_and(RequestContext::tells_of_limits);
        Some(Audience { headers: self.headers, is_heard })
    }

    fn is_priced(&self, bill: &Bill) -> bool {
        bill.limits.iter().any(|&limit| self.limits[usize::from(limit)].limit.is_priced())
    }
}

impl<St: Store> After<St> {
    /// Corrects what was charged by what the answer says that it was. None when it was right.
    #[inline(always)]
    pub(super) fn settle<R>(&self, response: &Response<R>) -> Option<St::Future> {
        self.settlement.as_ref()?.settle(&AnswerHead::of(response))
    }

    /// How things stand since the correction.
    pub(super) fn settled(&mut self, decision: &Decision) {
        if let (Some(report), Some(settlement)) = (&mut self.report, &self.settlement) {
            report.update(decision, &settlement.settings.clock);
        }
    }

    #[inline(always)]
    pub(super) fn tell<R>(&self, response: &mut Response<R>) {
        if let Some(report) = &self.report {
            report.tell(response);
        }
    }
}

impl<St: Store> Settlement<St> {
    fn settle(&self, answer: &AnswerHead<'_>) -> Option<St::Future> {
        let Self { settings, bill } = self;
        let (mut more, mut less) = (Charges::new(), Charges::new());
        for (charge, &limit) in bill.charges.iter().zip(&bill.limits) {
            let Some(price) = settings.limits[usize::from(limit)].limit.price_of(answer) else { continue };
            match price.checked_sub(charge.cost) {
                Some(0) => {}
                Some(owed) => more.push(charge.cost(owed)),
                None => less.push(charge.cost(charge.cost - price)),
            }
        }
        match (more.is_empty(), less.is_empty()) {
            (true, true) => None,
            (true, false) => Some(settings.store.refund(&less)),
            // Where several limits disagree, what is owed goes first: what is given back late harms nobody.
            (false, _) => Some(settings.store.debit(&more)),
        }
    }
}

const LAYER: &str = "rate_limit";

/// From 0 to 1.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

// By hand, as a store need not be one that can be cloned.
impl<S: Clone, St> Clone for RateLimit<S, St> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: self.settings.clone() }
    }
}

impl<S: fmt::Debug, St> fmt::Debug for RateLimit<S, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).field("settings", &self.settings).finish()
    }
}
