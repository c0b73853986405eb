//! W3C Trace Context.

/// A trace context.
#[derive(Clone, Debug)]
pub struct TraceContext {}
