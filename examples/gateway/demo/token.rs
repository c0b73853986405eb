//! Tokens for the demo, signed with a secret of its own.

use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tower_gateway::BoxError;

/// Another secret with each start: 256 random bits as text.
pub(super) fn secret() -> Result<String, BoxError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// A token of Alice's that is good for an hour (RFC 7519, HS256).
pub(super) fn with_scope(scope: &str, secret: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = serde_json::json!({ "iss": "demo", "aud": "demo", "sub": "alice", "scope": scope, "exp": now + 3600 });
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let input = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
