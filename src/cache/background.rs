//! Revalidation in the background (RFC 5861 section 3).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{Method, Request};
use http_body::Body;

use super::ask::Ask;
use super::decision::Asking;
use super::origin::Origin;
use super::plan::Plan;
use super::settings::Settings;
use super::store::CacheStore;
use crate::RequestContext;
use crate::readiness::Oneshot;

/// Moves the request into the background, unless its key is being asked for already: an inner service may want a body of
/// its own type, and this request has one. Its context is a fork: what becomes of it there is not the client's answer.
pub(super) fn refresh<S, B, St>(
    settings: &Arc<Settings<St>>,
    inner: &mut S,
    mut request: Request<B>,
    mut ask: Ask,
    asking: Asking,
) where
    S: Origin<B>,
    B: Send + 'static,
    St: CacheStore,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let key = settings.flight_key(&ask, asking.base.as_deref(), None, request.headers());
    let Some(lead) = settings.shared.flights.lead(&key) else { return };
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.headers_mut().remove(name);
    }
    *request.method_mut() = Method::GET;
    let fork = ask.context.as_ref().map(RequestContext::fork);
    if let Some(fork) = &fork {
        request.extensions_mut().insert(fork.clone());
    }
    ask.context = fork;
    (ask.is_head, ask.if_modified, ask.range) = (false, false, None);
    let mut plan = Plan::new(settings.clone(), ask, asking, &request);
    plan.lead = Some(lead);
    plan.asking.put_into(request.headers_mut());
    let mut inner = inner.clone();
    runtime.spawn(async move {
        let call = Oneshot::start(&mut inner, request);
        let Ok(response) = plan.receive(call.await) else { return };
        let mut body = pin!(response.into_body());
        while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
    });
}
