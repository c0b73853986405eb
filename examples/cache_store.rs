//! A store of your own behind the cache's memory: here a folder of files, in forty lines.
//!
//! `cargo run --example cache_store`

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::Request;
use tower::ServiceExt;
use tower_gateway::BoxError;
use tower_gateway::cache::CacheLayer;
use tower_gateway::cache::store::{ByteStore, MemoryStore, Remote, Tiered};

/// One file for each key. What is too old is refused by the cache itself, so nothing is swept here.
struct Folder(PathBuf);

impl Folder {
    fn file(&self, key: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.0.join(format!("{:016x}", hasher.finish()))
    }
}

impl ByteStore for Folder {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        // Two keys may share a file: a record knows its own key, and is none under another.
        match tokio::fs::read(self.file(key)).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, key: &str, value: Bytes, _keep: Duration) -> Result<(), BoxError> {
        Ok(tokio::fs::write(self.file(key), value).await?)
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        Ok(tokio::fs::remove_file(self.file(key)).await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let folder = std::env::temp_dir().join(format!("cache-store-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // Two gateways with memories of their own, and one folder.
    for name in ["one", "two"] {
        let store = Tiered::new(MemoryStore::new(64 * 1024 * 1024), Remote::new(Folder(folder.clone())));
        let layer = CacheLayer::with_store(store).ttl(Duration::from_secs(30)).x_cache(true);
        let app = Router::new().route("/", get(|| async { "made once" })).layer(layer);
        let answer = app.oneshot(Request::get("/").header("host", "example.test").body(Body::empty())?).await?;
        println!("{name}: {:?}", answer.headers()["x-cache"]);
        axum::body::to_bytes(answer.into_body(), 1024).await?;
        tokio::time::sleep(Duration::from_millis(50)).await; // writes go on in the background
    }
    Ok(std::fs::remove_dir_all(folder)?)
}
