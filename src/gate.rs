//! What every layer can be told, written once: on or off, whom to skip, to try a rule without enforcing it, and how to
//! word a refusal.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::{Head, Rejection, RequestContext};

type Skip = Arc<dyn Fn(&Head<'_>) -> bool + Send + Sync>;
type OnReject = Arc<dyn Fn(&Head<'_>, &Rejection, &mut Response<Bytes>) + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) disabled: bool,
    pub(crate) dry_run: bool,
    pub(crate) skip: Option<Skip>,
    pub(crate) on_reject: Option<OnReject>,
}

impl Gate {
    /// True when the layer is to look at this request at all.
    pub(crate) fn applies<B>(&self, request: &http::Request<B>) -> bool {
        !self.disabled && !self.skip.as_ref().is_some_and(|skip| skips(skip, request))
    }

    /// The answer to a request that is refused, or none in a dry run. Either way the context is told.
    pub(crate) fn refuse(&self, head: Head<'_>, rejection: Rejection) -> Option<Response<Bytes>> {
        if self.dry_run {
            if let Some(context) = head.context() {
                context.set_rejection(rejection.in_dry_run());
            }
            return None;
        }
        Some(self.answer(head, head.context(), rejection))
    }

    /// The answer to a request that cannot be let through, dry run or not.
    pub(crate) fn answer(
        &self,
        head: Head<'_>,
        context: Option<&RequestContext>,
        rejection: Rejection,
    ) -> Response<Bytes> {
        let mut response = rejection.answer_to(head, context);
        if let Some(on_reject) = &self.on_reject {
            on_reject(&head, &rejection, &mut response);
        }
        if let Some(context) = context {
            context.set_rejection(rejection);
        }
        response
    }
}

/// Kept out of line, as every layer asks and few have anything to ask.
#[inline(never)]
fn skips<B>(skip: &Skip, request: &http::Request<B>) -> bool {
    skip(&Head::of(request))
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("enabled", &!self.disabled)
            .field("dry_run", &self.dry_run)
            .field("skips", &self.skip.is_some())
            .field("on_reject", &self.on_reject.is_some())
            .finish()
    }
}

/// The setters of a layer whose `settings: Arc<_>` holds a `gate`. `refuses` adds those of a layer that refuses.
macro_rules! gate_setters {
    () => {
        /// Off, the layer lets every request pass untouched. On by default.
        #[must_use]
        pub fn enabled(mut self, enabled: bool) -> Self {
            std::sync::Arc::make_mut(&mut self.settings).gate.disabled = !enabled;
            self
        }

        /// Requests for which `rule` is true pass untouched.
        #[must_use]
        pub fn skip(mut self, rule: impl Fn(&$crate::Head<'_>) -> bool + Send + Sync + 'static) -> Self {
            std::sync::Arc::make_mut(&mut self.settings).gate.skip = Some(std::sync::Arc::new(rule));
            self
        }
    };
    (refuses) => {
        $crate::gate::gate_setters!();

        /// Tries the rule without enforcing it: what would be refused passes, and the
        /// [`RequestContext`](crate::RequestContext) says so.
        #[must_use]
        pub fn dry_run(mut self, dry_run: bool) -> Self {
            std::sync::Arc::make_mut(&mut self.settings).gate.dry_run = dry_run;
            self
        }

        $crate::gate::gate_setters!(answers);
    };
    (answers) => {
        /// Lets `hook` change the answer to a request that is refused: its status, header fields or body.
        #[must_use]
        pub fn on_reject(
            mut self,
            hook: impl Fn(&$crate::Head<'_>, &$crate::Rejection, &mut http::Response<bytes::Bytes>) + Send + Sync + 'static,
        ) -> Self {
            std::sync::Arc::make_mut(&mut self.settings).gate.on_reject = Some(std::sync::Arc::new(hook));
            self
        }
    };
}
pub(crate) use gate_setters;
