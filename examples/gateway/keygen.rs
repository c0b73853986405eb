//! `gateway keygen`: a new API key, and what the file of keys is to know of it.

use tower_gateway::BoxError;
use tower_gateway::auth::KeyDigest;

/// Prints a key of 256 random bits, which is shown this once, and its entry for the file.
pub(crate) fn run(id: &str) -> Result<(), BoxError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let key = format!("gw_{}", base64url(&random));
    let digest = KeyDigest::of(key.as_bytes());
    println!("key: {key}");
    println!();
    println!("It is shown this once. Give it to its owner, and this to the file that [api_keys] names:");
    println!();
    println!("[[keys]]");
    println!("sha256 = \"{digest}\"");
    println!("id = {id:?}");
    Ok(())
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
