//! Authentication in the example gateway, as a client, an origin and an operator see it.

#[path = "support/redis.rs"]
mod server;
#[path = "support/mod.rs"]
mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tower_gateway::auth::Algorithm;

use self::server::RedisServer;
use self::support::gateway::{Gateway, binary};
use self::support::{PATIENCE, RawOrigin, field};
use self::tokens::{Signer, claims, now, sha256};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn signer() -> Signer {
    Signer::with_secret(Algorithm::Hs256, SECRET)
}

fn config(origin: &RawOrigin, more: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
[upstreams.o]
servers = ["{}"]
{more}
"#,
        origin.url()
    )
}

fn request(path: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: gw.example\r\n{fields}Connection: close\r\n\r\n")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default()
}

/// Sends a request with a bearer token, and gives the answer.
async fn with_token(gateway: &Gateway, path: &str, token: &str) -> String {
    send(gateway, path, &[("Authorization", &format!("Bearer {token}"))]).await
}

async fn send(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> String {
    let request = request(path, fields);
    tokio::task::block_in_place(|| gateway.exchange(&request))
}

const HS256: &str = r#"
[jwt.main]
algorithms = ["HS256"]
secret = "${JWT_SECRET:-0123456789abcdef0123456789abcdef}"
issuer = "https://issuer.example/"
audience = ["gateway"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_auth_lets_in_good_tokens_alone_and_keeps_them_from_the_origin() {
    let mut origin = RawOrigin::answering(OK).await;
    let file = config(
        &origin,
        &format!("{HS256}\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\n[routes.a.auth]\naccept = [\"jwt\"]\n"),
    );
    let gateway = Gateway::with_config(&file);
    let signer = signer();
    let good = signer.token(&claims("u1"));
    for _ in 0..2 {
        assert_eq!(status(&with_token(&gateway, "/a/b", &good).await), 200);
        let seen = origin.received().await;
        assert_eq!(field(&seen, "authorization"), None, "{seen}");
        assert_eq!(field(&seen, "x-user-id"), Some("u1"));
        assert_eq!((field(&seen, "x-user-role"), field(&seen, "x-user-plan")), (Some("user"), Some("free")));
    }
    let other = Signer::with_secret(Algorithm::Hs256, [7; 32]);
    let expired = {
        let mut claims = claims("u1");
        claims["exp"] = json!(now() - 60);
        signer.token(&claims)
    };
    let tampered = good.replacen('.', ".e", 1);
    let none = signer.sign_text(r#"{"alg":"none"}"#, &claims("u1").to_string());
    for bad in [&other.token(&claims("u1")), &expired, &tampered, &none, "junk"] {
        let answer = with_token(&gateway, "/a", bad).await;
        assert_eq!(status(&answer), 401, "{answer}");
        assert!(field(&answer, "www-authenticate").unwrap().contains("error=\"invalid_token\""), "{answer}");
    }
    let answer = send(&gateway, "/a", &[]).await;
    assert_eq!((status(&answer), field(&answer, "www-authenticate")), (401, Some("Bearer realm=\"gateway\"")));
    assert!(answer.contains("\"error\":\"authentication_required\""));
    assert!(origin.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_of_its_identity_reaches_no_origin_in_any_spelling() {
    let mut origin = RawOrigin::answering(OK).await;
    let routes = "
[routes.a]
path = \"/a\"
upstream = \"o\"
auth = {}
[routes.open]
path = \"/open\"
upstream = \"o\"
[identity_headers]
x-user-id = \"{subject}\"
x-plan = \"{plan}\"
";
    let gateway = Gateway::with_config(&config(&origin, &format!("{HS256}{routes}")));
    let forged = [
        ("X-User-Id", "admin"),
        ("x_user_id", "admin"),
        ("X_User-ID", "admin"),
        ("x-plan", "gold"),
        ("X_PLAN", "gold"),
    ];
    assert_eq!(status(&send(&gateway, "/open", &forged).await), 200);
    let seen = origin.received().await.to_lowercase();
    assert!(!seen.contains("admin") && !seen.contains("gold"), "{seen}");

    let token = format!("Bearer {}", signer().token(&claims("u1")));
    let fields = [&forged[..], &[("Authorization", token.as_str()), ("Connection", "x-user-id")]].concat();
    assert_eq!(status(&send(&gateway, "/a", &fields).await), 200);
    let seen = origin.received().await;
    assert_eq!(field(&seen, "x-user-id"), Some("u1"), "{seen}");
    assert!(!seen.contains("admin") && !seen.contains("gold"), "a plan that there is not is no header: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_roles_exceptions_and_anonymous_requests_are_as_the_route_says() {
    let origin = RawOrigin::answering(OK).await;
    let routes = r#"
[defaults]
upstream = "o"
[routes.scoped]
path = "/scoped"
auth = { scopes = ["users:read", "users:write"] }
[routes.roles]
path = "/roles"
auth = { roles = ["admin", "ops"] }
[routes.except]
path = "/except"
auth = { except = ["/except/public"] }
[routes.optional]
path = "/optional"
auth = { required = false }
"#;
    let gateway = Gateway::with_config(&config(&origin, &format!("{HS256}{routes}")));
    let with = |name: &str, value: Value| {
        let mut claims = claims("u1");
        claims[name] = value;
        signer().token(&claims)
    };
    let (plain, scoped, ops) =
        (signer().token(&claims("u1")), with("scope", json!("users:write users:read")), with("roles", json!(["ops"])));
    for (path, token, expected) in [
        ("/scoped", Some(&scoped), 200),
        ("/scoped", Some(&plain), 403),
        ("/roles", Some(&ops), 200),
        ("/roles", Some(&plain), 403),
        ("/except/public/a", None, 200),
        ("/except/publicity", None, 401),
        ("/except/public/../a", None, 401),
        ("/except/x/%2e%2e/public", None, 200),
        ("/optional", None, 200),
        ("/optional", Some(&plain), 200),
    ] {
        let answer = match token {
            Some(token) => with_token(&gateway, path, token).await,
            None => send(&gateway, path, &[]).await,
        };
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        if expected == 403 && path == "/scoped" {
            let challenge = field(&answer, "www-authenticate").unwrap();
            assert!(challenge.contains("insufficient_scope") && challenge.contains("scope=\"users:read users:write\""));
        }
    }
    assert_eq!(status(&with_token(&gateway, "/optional", "junk").await), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_come_from_a_file_that_is_read_again() {
    let mut origin = RawOrigin::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.toml");
    let key = |key: &str, more: &str| {
        format!(
            "[[keys]]\nsha256 = \"{}\"\nid = \"{key}-id\"\nsubject = \"{key}-user\"\n{more}\n",
            sha256(key.as_bytes())
        )
    };
    let old = key("old", "expires = 2020-01-01T00:00:00Z");
    std::fs::write(
        &keys,
        [key("one", "role = \"admin\"\nplan = \"pro\"\nscopes = [\"read\"]"), key("off", "disabled = true"), old]
            .concat(),
    )
    .unwrap();
    let file = folder.path().join("gateway.toml");
    let routes = "[api_keys]\nfile = \"keys.toml\"\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\nauth = { accept = [\"api_key\"], scopes = [\"read\"] }\n";
    std::fs::write(&file, config(&origin, routes)).unwrap();
    let gateway = Gateway::start(Command::new(binary()).arg("--config").arg(&file));
    let answer = send(&gateway, "/a", &[("X-Api-Key", "one"), ("x_api_key", "one")]).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let seen = origin.received().await;
    assert!(!seen.to_lowercase().contains("api"), "{seen}");
    assert_eq!(
        (field(&seen, "x-user-id"), field(&seen, "x-user-role"), field(&seen, "x-user-plan")),
        (Some("one-user"), Some("admin"), Some("pro"))
    );
    assert_eq!(status(&send(&gateway, "/a", &[("Authorization", "ApiKey one")]).await), 200);
    for bad in ["off", "old", "two", ""] {
        assert_eq!(status(&send(&gateway, "/a", &[("X-Api-Key", bad)]).await), 401, "{bad}");
    }
    std::fs::write(&keys, key("two", "scopes = [\"read\"]")).unwrap();
    gateway.signal("HUP");
    let began = std::time::Instant::now();
    while status(&send(&gateway, "/a", &[("X-Api-Key", "two")]).await) != 200 {
        assert!(began.elapsed() < PATIENCE, "the new key is not taken");
    }
    assert_eq!(status(&send(&gateway, "/a", &[("X-Api-Key", "one")]).await), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_issuers_are_told_apart_and_routes_may_name_one() {
    let origin = RawOrigin::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let (es, rs) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Rs256).with_id("k1"));
    std::fs::write(folder.path().join("es.pem"), es.pem()).unwrap();
    std::fs::write(folder.path().join("keys.json"), json!({"keys": [rs.jwk()]}).to_string()).unwrap();
    let tables = r#"
[jwt.es]
algorithms = ["ES256"]
public_key_file = "es.pem"
issuer = "https://issuer.example/"
audience = ["gateway"]
[jwt.rs]
jwks_file = "keys.json"
issuer = "https://issuer.example/"
audience = "gateway"
[routes.both]
path = "/both"
upstream = "o"
auth = { accept = ["jwt"], forward_credentials = true }
[routes.one]
path = "/one"
upstream = "o"
auth = { accept = ["jwt:rs"] }
"#;
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config(&origin, tables)).unwrap();
    let gateway = Gateway::start(Command::new(binary()).arg("--config").arg(&file));
    let (es, rs) = (es.token(&claims("u")), rs.token(&claims("u")));
    for (path, token, expected) in [("/both", &es, 200), ("/both", &rs, 200), ("/one", &rs, 200), ("/one", &es, 401)] {
        assert_eq!(status(&with_token(&gateway, path, token).await), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_a_url_are_loaded_rotated_and_kept_over_a_reload() {
    let mut origin = RawOrigin::answering(OK).await;
    let (old, new) = (Signer::new(Algorithm::EdDsa).with_id("old"), Signer::new(Algorithm::EdDsa).with_id("new"));
    let sets = [vec![old.jwk()], vec![old.jwk(), new.jwk()]].map(|keys| json!({"keys": keys}).to_string());
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let issuer = RawOrigin::scripted(move |mut connection| {
        let (sets, count) = (sets.clone(), count.clone());
        async move {
            connection.request().await;
            let at = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // From the third time on it is down.
            if let Some(set) = sets.get(at) {
                connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len())).await;
            }
        }
    })
    .await;
    let tables = format!(
        "[jwt.main]\njwks_url = \"{}/keys\"\nissuer = \"https://issuer.example/\"\naudience = [\"gateway\"]\n\
         [routes.a]\npath = \"/a\"\nupstream = \"o\"\nauth = {{}}\n",
        issuer.url()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config(&origin, &tables)).unwrap();
    let gateway = Gateway::start(Command::new(binary()).arg("--config").arg(&file));
    assert_eq!(status(&with_token(&gateway, "/a", &old.token(&claims("u"))).await), 200);
    assert_eq!(origin.received().await.lines().next(), Some("GET /a HTTP/1.1"));

    // A reload with another route, which shows that it has happened.
    std::fs::write(&file, config(&origin, &format!("{tables}[routes.b]\npath = \"/b\"\nupstream = \"o\"\n"))).unwrap();
    gateway.signal("HUP");
    let began = std::time::Instant::now();
    while status(&send(&gateway, "/b", &[]).await) != 200 {
        assert!(began.elapsed() < PATIENCE, "no reload");
    }
    assert_eq!(status(&with_token(&gateway, "/a", &old.token(&claims("other"))).await), 200);
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1, "the keys went over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_fails_too_often_is_told_to_wait() {
    let origin = RawOrigin::answering(OK).await;
    let more = format!(
        "{HS256}\n[failed_credentials]\nlimit = 3\nwindow = \"1h\"\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\nauth = {{}}\n"
    );
    let gateway = Gateway::with_config(&config(&origin, &more));
    let known = signer().token(&claims("u1"));
    assert_eq!(status(&with_token(&gateway, "/a", &known).await), 200);
    for junk in ["junk1", "junk2", "junk1", "junk2", "junk3"] {
        assert_eq!(status(&with_token(&gateway, "/a", junk).await), 401);
    }
    let answer = with_token(&gateway, "/a", "junk4").await;
    assert_eq!(status(&answer), 429);
    assert!(field(&answer, "retry-after").unwrap().parse::<u64>().unwrap() > 1000);
    assert_eq!(status(&with_token(&gateway, "/a", &known).await), 200);
}

/// A program whose token has expired, and that goes on: it learns nothing, and shuts nobody out who shares its address.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bad_token_is_a_401_each_time_and_keeps_nobody_else_out() {
    let origin = RawOrigin::answering(OK).await;
    let more = format!("{HS256}\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\nauth = {{}}\n");
    let gateway = Gateway::with_config(&config(&origin, &more));
    let forged = Signer::with_secret(Algorithm::Hs256, [7; 32]).token(&claims("u1"));
    for _ in 0..1100 {
        assert_eq!(status(&with_token(&gateway, "/a", &forged).await), 401);
    }
    assert_eq!(status(&with_token(&gateway, "/a", &signer().token(&claims("u1"))).await), 200);
    let mut refusals = 0;
    while status(&with_token(&gateway, "/a", &format!("junk{refusals}")).await) == 401 {
        refusals += 1;
        assert!(refusals < 1100, "guesses are limited without being asked for");
    }
    assert!(refusals >= 999, "{refusals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_say_nothing_of_who_is_asking() {
    let mut origin = RawOrigin::answering(OK).await;
    let more = format!(
        "{HS256}\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\nauth = {{}}\n[routes.open]\npath = \"/open\"\nupstream = \"o\"\n"
    );
    let gateway = Gateway::with_config(&config(&origin, &more));
    let token = signer().token(&claims("u1"));
    for path in ["/a", "/open"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gw.example\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             2\r\nhi\r\n0\r\nX-User-Id: admin\r\nx_user_role: admin\r\nX-Sum: 7\r\n\r\n"
        );
        let answer = tokio::task::block_in_place(|| gateway.exchange(&request));
        assert_eq!(status(&answer), 200, "{answer}");
        let seen = origin.received().await;
        assert!(!seen.contains("admin"), "{path}: {seen}");
        assert!(seen.to_lowercase().contains("x-sum: 7"), "{path}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_are_looked_up_in_redis_and_remembered_for_as_long_as_the_file_says() {
    let mut origin = RawOrigin::answering(OK).await;
    let mut redis = RedisServer::start();
    let name = |key: &str| format!("k:apikey:{}", sha256(key.as_bytes()));
    let add = |redis: &RedisServer, key: &str, fields: &[&str]| {
        redis.command(&[&["HSET", &name(key)][..], fields].concat());
    };
    let good = ["id", "k1", "subject", "u1", "role", "admin", "plan", "pro", "scopes", "read write"];
    add(&redis, "good", &[&good[..], &["expires", "2100-01-01T00:00:00Z", "limit", "2"]].concat());
    add(&redis, "off", &["id", "k2", "scopes", "read", "disabled", "true"]);
    add(&redis, "old", &["id", "k3", "scopes", "read", "expires", "2020-01-01T00:00:00Z"]);
    add(&redis, "narrow", &["id", "k4", "scopes", "write"]);
    let more = format!(
        r#"
[redis]
url = "{}"
timeout = "2s"
key_prefix = "k:"
share = ["api_keys"]
[api_keys]
header = "x-key"
cache_for = "6s"
[rate_limits.few]
limit = 100
window = "1h"
key = "api_key"
[routes.a]
path = "/a"
upstream = "o"
rate_limit = ["few"]
auth = {{ accept = ["api_key"], scopes = ["read"] }}
"#,
        redis.url()
    );
    let gateway = Gateway::with_config(&config(&origin, &more));
    let with_key = async |key: &str| send(&gateway, "/a", &[("X-Key", key)]).await;

    let began = std::time::Instant::now();
    assert_eq!(status(&with_key("good").await), 200);
    let seen = origin.received().await;
    assert_eq!(
        (field(&seen, "x-user-id"), field(&seen, "x-user-role"), field(&seen, "x-user-plan")),
        (Some("u1"), Some("admin"), Some("pro"))
    );
    assert_eq!(field(&seen, "x-key"), None);
    for (key, expected) in [("off", 401), ("old", 401), ("unknown", 401), ("narrow", 403), ("good", 200), ("good", 429)]
    {
        assert_eq!(status(&with_key(key).await), expected, "{key}");
    }
    let asked = redis.calls("hgetall");
    assert_eq!(asked, 5, "each key was asked for once");

    redis.kill();
    assert_eq!(status(&with_key("good").await), 429, "who is remembered is known while the store is down");
    while status(&with_key("good").await) != 503 {
        assert!(began.elapsed() < PATIENCE, "what is remembered never ends");
    }
    assert!(began.elapsed() >= Duration::from_secs(6), "it is forgotten too soon");
    let answer = with_key("never seen").await;
    assert!(status(&answer) == 503 && field(&answer, "retry-after").is_some(), "{answer}");

    redis.restart();
    add(&redis, "new", &["id", "k5", "scopes", "read"]);
    let began = std::time::Instant::now();
    while status(&with_key("new").await) != 200 {
        assert!(began.elapsed() < PATIENCE, "it does not come back");
    }
    redis.command(&["HSET", &name("new"), "disabled", "true"]);
    let began = std::time::Instant::now();
    while status(&with_key("new").await) != 401 {
        assert!(began.elapsed() < PATIENCE, "a key that was switched off goes on");
    }
}

fn check(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(binary()).arg("--config").arg(&file).arg("--check").output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

const ROUTE: &str = "[upstreams.o]\nservers = [\"http://127.0.0.1:1\"]\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\n";

#[test]
fn check_warns_of_what_is_not_checked_and_of_routes_that_are_open() {
    let lax = format!(
        "{ROUTE}auth = {{}}\n[routes.open]\npath = \"/open\"\nupstream = \"o\"\n[jwt.main]\nalgorithms = [\"HS256\"]\nsecret = \"{SECRET}\"\nrequire_exp = false\n"
    );
    let (fine, said) = check(&lax);
    assert!(fine, "{said}");
    for warning in [
        "what iss has to be",
        "which aud is yours",
        "tokens without exp",
        "[routes.open] is open to all",
        "a secret stands in the file itself",
    ] {
        assert!(said.contains(warning), "{warning}: {said}");
    }
    assert!(!said.contains("[routes.a] is open") && !said.contains(SECRET), "{said}");
    let strict = format!("{ROUTE}auth = {{}}\n{HS256}");
    assert_eq!(check(&strict), (true, String::new()));
}

#[test]
fn check_refuses_keys_that_are_weak_misfit_or_missing() {
    let jwt = |table: &str| format!("{ROUTE}auth = {{}}\n[jwt.main]\nissuer = \"i\"\naudience = [\"a\"]\n{table}\n");
    for (config, why) in [
        (
            jwt("algorithms = [\"HS256\"]\nsecret = \"${X:-short}\""),
            "the secret is 5 bytes long, and HS256 needs at least 32",
        ),
        (
            jwt("algorithms = [\"HS512\"]\nsecret = \"${X:-0123456789abcdef0123456789abcdef}\""),
            "HS512 needs at least 64",
        ),
        (jwt("secret = \"${X:-0123456789abcdef0123456789abcdef}\""), "\"algorithms\" is missing"),
        (
            jwt("algorithms = [\"RS256\"]\nsecret = \"${X:-0123456789abcdef0123456789abcdef}\""),
            "another kind or curve than RS256",
        ),
        (jwt("algorithms = [\"none\"]\nsecret = \"${X:-0123456789abcdef0123456789abcdef}\""), "\"none\" is not"),
        (jwt("algorithms = [\"HS256\"]"), "exactly one of secret"),
        (jwt("jwks_url = \"https://a.example\"\njwks_file = \"none.json\""), "none.json"),
        (
            jwt("jwks_url = \"https://a.example\"\nsecret = \"${X:-0123456789abcdef0123456789abcdef}\""),
            "exactly one of secret",
        ),
        (jwt("jwks_url = \"ftp://a.example\""), "is not a URL"),
        (jwt("jwks_url = \"https://a.example\"\nalgorithms = [\"HS256\"]"), "a secret that is published is none"),
        (format!("{ROUTE}auth = {{}}\n"), "there are none; add [jwt.NAME] or [api_keys]"),
        (format!("{ROUTE}auth = {{ accept = [\"api_key\"] }}\n{HS256}"), "accepts API keys, and there are none"),
        (format!("{ROUTE}auth = {{ accept = [\"jwt:mian\"] }}\n{HS256}"), "did you mean \"main\"?"),
        (format!("{ROUTE}auth = {{ accept = [\"cookie\"] }}\n{HS256}"), "is not \"jwt\", \"api_key\""),
        (format!("{ROUTE}auth = {{ scopes = [\"a b\"] }}\n{HS256}"), "is not a scope"),
        (format!("{ROUTE}auth = {{}}\n[api_keys]\n"), "has no keys"),
    ] {
        let (fine, said) = check(&config);
        assert!(!fine && said.contains(why), "{why}: {said}");
        assert!(!said.contains("0123456789abcdef0123456789abcdef"), "{said}");
    }
    let (_, said) = check(&jwt("jwks_url = \"http://keys.example/\""));
    assert!(said.contains("over plain HTTP"), "{said}");
}

#[test]
fn keygen_prints_a_key_and_its_line_for_the_file() {
    let output = Command::new(binary()).arg("keygen").arg("--id").arg("k7").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let key = printed.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
    assert!(key.starts_with("gw_") && key.len() == 46, "{printed}");
    assert!(
        printed.contains(&format!("sha256 = \"{}\"", sha256(key.as_bytes()))) && printed.contains("id = \"k7\""),
        "{printed}"
    );
    let again = Command::new(binary()).arg("keygen").output().unwrap();
    assert!(!String::from_utf8(again.stdout).unwrap().contains(key));
}
