//! A request that waits: for a store to answer, or for the answer to another's request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::ask::Ask;
use super::flight::{Follow, Landing};
use super::record::Record;
use super::settings::Settings;
use super::store::CacheStore;

pin_project! {
    /// Gives back what it holds, with what was heard.
    pub(super) struct Waiting<S, B, St>
    where
        St: CacheStore,
    {
        #[pin]
        for_what: ForWhat<St::Get>,
        held: Option<Held<S, B, St>>,
    }
}

pin_project! {
    #[project = ForWhatProj]
    enum ForWhat<G> {
        Store { #[pin] get: G },
        Other { #[pin] follow: Follow, #[pin] patience: Sleep },
    }
}

/// The request, and the service that it would go on to.
pub(super) struct Held<S, B, St> {
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) settings: Arc<Settings<St>>,
    pub(super) ask: Ask,
    /// What was stored under the key.
    pub(super) base: Option<Arc<Record>>,
    /// How often it has waited for others.
    pub(super) round: u8,
}

pub(super) enum Heard {
    /// What the store has.
    Store(Option<Arc<Record>>),
    /// What became of the other's request.
    Other(Landing),
    /// Nothing for as long as a request may wait.
    Nothing,
}

impl<S, B, St: CacheStore> Waiting<S, B, St> {
    pub(super) fn for_store(get: St::Get, held: Held<S, B, St>) -> Pin<Box<Self>> {
        Box::pin(Self { for_what: ForWhat::Store { get }, held: Some(held) })
    }

    pub(super) fn for_other(follow: Follow, held: Held<S, B, St>) -> Pin<Box<Self>> {
        let patience = tokio::time::sleep(held.settings.max_wait);
        Box::pin(Self { for_what: ForWhat::Other { follow, patience }, held: Some(held) })
    }
}

impl<S, B, St: CacheStore> Future for Waiting<S, B, St> {
    type Output = (Held<S, B, St>, Heard);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let heard = match this.for_what.project() {
            ForWhatProj::Store { get } => Heard::Store(ready!(get.poll(cx))),
            ForWhatProj::Other { follow, patience } => match follow.poll(cx) {
                Poll::Ready(landing) => Heard::Other(landing),
                Poll::Pending => {
                    ready!(patience.poll(cx));
                    Heard::Nothing
                }
            },
        };
        Poll::Ready((this.held.take().expect("polled after it had completed"), heard))
    }
}
