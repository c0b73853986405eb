use std::fmt;

/// What a layer owes. The first rule that one breaks is named in the [`Violation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The request registered as admitted is answered by the inner service, the one registered as refused is not.
    Answers,
    /// Services made by repeated `layer()` calls, by a clone of the layer and by a clone of a service share one state.
    SharedState,
    /// A layer that adopted another goes on from that one's state, by settings of its own.
    Adopts,
    /// A service is called only after its own `poll_ready` said so, and not asked again after it failed.
    CalledWhenReady,
    /// Instances that live long serve request after request over an inner service that admits one at a time.
    LongLived,
    /// What the inner service reserved for a request that the layer then answers by itself is given back.
    ReservationReturned,
    /// The inner service's error, from `poll_ready` and from the call, comes out as the same type and value.
    ErrorUntouched,
    /// A future or body dropped at any await gives back what it held.
    DropSafe,
    /// So does a panic of the inner service.
    PanicSafe,
    /// Data, trailers and errors of bodies pass in both directions as they are.
    FramesUntouched,
    /// The size hint of a body is true, and not looser than the inner one.
    SizeHint,
    /// A body says that it has ended when the inner one does, and not before.
    EndOfStream,
    /// The body of a layer's own answer ends, is as long as it says, and says nothing false about its end.
    OwnAnswer,
    /// Readiness is as declared; see [`Readiness`](super::Readiness).
    Readiness,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answers => "an admitted request reaches the inner service, a refused one does not",
            Self::SharedState => "clones and repeated `layer()` calls share one state",
            Self::Adopts => "a layer that adopted another goes on from its state, by its own settings",
            Self::CalledWhenReady => "a service is called only after its own `poll_ready` said so",
            Self::LongLived => "instances that live long keep serving over a limited inner service",
            Self::ReservationReturned => "a refusal gives back what the inner service had reserved",
            Self::ErrorUntouched => "the inner service's error passes untouched",
            Self::DropSafe => "a future or body dropped at any await gives back what it held",
            Self::PanicSafe => "a panic inside gives back what was held",
            Self::FramesUntouched => "frames, trailers and errors of a body pass as they are",
            Self::SizeHint => "a size hint is true and not looser than the inner body's",
            Self::EndOfStream => "a body ends when the inner one does",
            Self::OwnAnswer => "the layer's own answer is a well-formed body",
            Self::Readiness => "readiness is as declared",
        })
    }
}

/// A rule that a layer broke, and how it showed.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    layer: String,
    rule: Rule,
    detail: String,
}

impl Violation {
    pub(super) fn new(layer: &str, rule: Rule, detail: impl Into<String>) -> Self {
        Self { layer: layer.to_owned(), rule, detail: detail.into() }
    }

    /// The name that the layer was registered by.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What was observed.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} breaks the rule {:?} ({}): {}", self.layer, self.rule, self.rule, self.detail)
    }
}

/// The sentence itself, since a test that returns a `Result` prints its error with `Debug`.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}
