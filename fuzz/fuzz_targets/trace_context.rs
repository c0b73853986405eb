//! Any traceparent and tracestate: what is accepted is written as version 00, and read the same again.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_gateway::TraceContext;

fuzz_target!(|input: (Vec<u8>, Vec<Vec<u8>>)| {
    let (parent, states) = input;
    let Ok(parent) = HeaderValue::from_bytes(&parent) else { return };
    let mut headers = HeaderMap::new();
    headers.append("traceparent", parent);
    for state in states.iter().filter_map(|state| HeaderValue::from_bytes(state).ok()) {
        headers.append("tracestate", state);
    }
    let Some(context) = TraceContext::from_headers(&headers) else { return };
    assert!(context.tracestate().is_none_or(|state| state.len() <= 512));
    context.write_into(&mut headers);
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    assert_eq!(headers["traceparent"].len(), 55);
    assert_eq!(TraceContext::from_headers(&headers), Some(context));
});
