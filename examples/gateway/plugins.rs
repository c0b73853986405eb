//! Layers of your own, by the names that `[routes.NAME.plugins]` calls them.
//!
//! A plugin is a type for its settings: what it reads of the file ([`Table`]), and the layer that it makes of that. Any
//! tower layer will do; [`signature`] is one to begin with. Then it is a line in [`PLUGINS`], and
//!
//! ```toml
//! [routes.users.plugins]
//! signature = { secret = "${SIGNING_KEY}" }
//! ```
//!
//! puts it into the stack of a route: behind whatever decides who is let in, before the cache and all that is the origin's.
//! Several stand in the order of the file, the first one outermost. A plugin sees who is asking in the request's
//! [`RequestContext`](tower_gateway::RequestContext).

mod erased;
mod signature;

use std::fmt::Debug;

use tower_gateway::BoxError;

pub(crate) use self::erased::{PluginLayer, PluginStack};
use crate::config::plugins::Registration;
use crate::config::settings::Table;

/// All plugins there are.
pub(crate) const PLUGINS: &[Registration] =
    &[Registration::of::<signature::Signature>("signature", "signs requests for the origin")];

/// A layer of your own, as the file sets it up.
pub(crate) trait Plugin: Table + Debug + PartialEq + Send + Sync + 'static {
    /// The layer, made once for each configuration and route, for all workers. It may start work in the background
    /// (`tokio::spawn`), which is to end when the layer is dropped: [`Background`] sees to that.
    fn layer(&self) -> Result<PluginLayer, BoxError>;
}

/// Work that ends with the layer that holds it.
#[derive(Debug)]
pub(crate) struct Background(tokio::task::JoinHandle<()>);

impl Background {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{HeaderValue, Request, Response};
    use http_body_util::{BodyExt, Full};
    use tower::util::MapRequestLayer;
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::plugins::erased::Body;

    #[tokio::test]
    async fn background_work_ends_with_the_layer_that_began_it() {
        let alive = Arc::new(());
        let held = alive.clone();
        let work = Background::spawn(async move {
            let _held = held;
            std::future::pending().await
        });
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(work);
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn plugins_stand_in_order_around_the_rest_and_bodies_pass() {
        let says = |name: &'static str| {
            PluginLayer::new(MapRequestLayer::new(move |mut request: Request<Body>| {
                request.headers_mut().append("x-by", HeaderValue::from_static(name));
                request
            }))
        };
        let rest = || {
            service_fn(|request: Request<Body>| async {
                let by: Vec<_> = request.headers().get_all("x-by").iter().cloned().collect();
                let body = request.into_body().collect().await.map_err(|_: BoxError| ()).unwrap().to_bytes();
                let mut response = Response::new(Full::new(body));
                by.into_iter().for_each(|name| {
                    response.headers_mut().append("x-by", name);
                });
                Ok::<_, Infallible>(response)
            })
        };
        let send = async |plugins: Vec<PluginLayer>| {
            let body = Full::new(Bytes::from("body")).map_err(BoxError::from).boxed_unsync();
            let Ok(response) = PluginStack::new(plugins).layer(rest()).oneshot(Request::new(body)).await;
            let by: Vec<_> =
                response.headers().get_all("x-by").iter().map(|by| by.to_str().unwrap().to_owned()).collect();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "body");
            by.join(" ")
        };
        assert_eq!(send(vec![says("first"), says("second")]).await, "first second");
        assert_eq!(send(Vec::new()).await, "");
    }
}
