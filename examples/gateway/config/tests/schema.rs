//! What editors are told is what the readers read.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::super::Config;
use super::super::table::Table;
use super::super::value::Form;
use super::tables::Sample;

#[test]
fn a_table_is_described_by_what_it_asks_for() {
    let schema = <Sample as Form>::schema();
    assert_eq!(schema["required"], json!(["limit"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    let properties = &schema["properties"];
    assert_eq!(properties["window"]["default"], json!("60s"));
    assert_eq!(properties["methods"]["default"], json!(["a", "b"]));
    assert_eq!(properties["ratio"]["default"], json!(0.5));
    assert_eq!(properties["plans"]["description"], json!("by plan"));
    assert_eq!(properties["limit"]["anyOf"][0], json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }));
    assert_eq!(properties["methods"]["items"]["anyOf"][0], json!({ "enum": ["a", "b"] }));
    assert_eq!(properties["later"]["not"], json!({}));
    assert_eq!(Sample::NOT_BUILT, ["later"]);
}

/// Every key of the contract: table, then its keys. `*` is a name of the user's choice.
const CONTRACT: &[(&str, &str)] = &[
    (
        "",
        "server listeners admin health reload redis request_id forwarded jwt api_keys identity_headers cors access_log \
         audit cache rate_limits upstreams defaults routes",
    ),
    (
        "server",
        "listen workers trusted_proxies client_ip_from header_read_timeout body_read_timeout body_min_rate \
         write_timeout keep_alive_timeout max_header_bytes max_body_bytes max_connections max_connections_per_ip \
         drain_delay shutdown_grace",
    ),
    ("listeners.*", "address proxy_protocol tls redirect_to"),
    ("listeners.*.tls", "certificates client_ca client_auth"),
    ("admin", "listen token"),
    ("health", "path allow"),
    ("reload", "watch"),
    ("redis", "url timeout key_prefix share"),
    ("request_id", "enabled header"),
    ("forwarded", "x_forwarded forwarded via"),
    (
        "jwt.*",
        "secret secrets public_key_file jwks_url jwks_file algorithms issuer audience leeway require_exp roles_claim \
         scopes_claim plan_claim",
    ),
    ("api_keys", "header file cache_for"),
    ("cors", "allow_origins allow_methods allow_headers expose_headers allow_credentials max_age"),
    ("access_log", "format redact_query sample"),
    ("audit", "sqlite postgres on_full hash_chain"),
    ("cache", "memory x_cache"),
    ("rate_limits.*", "limit window burst algorithm key plans stage headers mode on_store_error dry_run"),
    (
        "upstreams.*",
        "servers balance host protocol tls connect_timeout keep_alive_timeout max_connections_per_server \
         queue_timeout dns_refresh slow_start panic_threshold health_check outlier_ejection circuit_breaker retry",
    ),
    ("upstreams.*.tls", "ca cert key server_name"),
    ("upstreams.*.health_check", "path status interval timeout unhealthy_after healthy_after"),
    ("upstreams.*.outlier_ejection", "consecutive_failures failure_rate min_requests window eject_for max_ejected"),
    (
        "upstreams.*.circuit_breaker",
        "failure_rate min_requests window consecutive_failures slow_call open_for half_open_requests",
    ),
    ("upstreams.*.retry", "attempts per_try backoff max_backoff on methods budget replay_bytes"),
    (
        "routes.*",
        "hosts path match methods headers upstream respond redirect strip_prefix rewrite_path rate_limit \
         encoded_slashes timeouts plugins cors auth cache concurrency request response ip",
    ),
    ("routes.*.timeouts", "response_head body_idle total upgrade_idle"),
    ("routes.*.auth", "accept required scopes roles except forward_credentials"),
    ("routes.*.cache", "ttl statuses max_body stale_while_revalidate stale_if_error authenticated"),
    ("routes.*.concurrency", "max adaptive"),
    ("routes.*.request", "max_body_bytes content_types remove_headers set_headers"),
    ("routes.*.response", "remove_headers set_headers response_time server_timing"),
    ("routes.*.ip", "allow deny"),
];

/// The schema of a table by its path, or nothing where it is not built.
fn find<'s>(schema: &'s Json, path: &str) -> Option<&'s Json> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(schema, |schema, step| {
        let schema = table_of(schema)?;
        match step {
            "*" => schema.get("additionalProperties"),
            step => schema.get("properties")?.get(step),
        }
    })
}

/// The one of the alternatives that is a table.
fn table_of(schema: &Json) -> Option<&Json> {
    match schema.get("anyOf") {
        Some(alternatives) => alternatives.as_array()?.iter().find_map(table_of),
        None => (schema["type"] == "object").then_some(schema),
    }
}

#[test]
fn every_key_of_the_contract_is_known_or_said_not_to_be_built() {
    let schema = Config::schema();
    let mut looked_at = 0;
    for (table, keys) in CONTRACT {
        let Some(found) = find(&schema, table).and_then(table_of) else { continue };
        let properties = found["properties"].as_object().unwrap();
        for key in keys.split_whitespace() {
            assert!(properties.contains_key(key), "{key:?} in [{table}]");
        }
        looked_at += 1;
    }
    assert!(looked_at >= 9, "{looked_at}");
}

#[test]
fn defaults_may_say_all_that_a_route_may_and_false() {
    let schema = Config::schema();
    let keys = |path| -> BTreeSet<String> {
        table_of(find(&schema, path).unwrap()).unwrap()["properties"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys("defaults"), keys("routes.*"));
    let timeouts = &find(&schema, "defaults").unwrap()["properties"]["timeouts"];
    assert_eq!(timeouts["anyOf"][1], json!({ "const": false }));
    assert!(find(&schema, "defaults").unwrap().get("required").is_none());
}

/// Every key says what it is for, and what stands for it when it is absent can be read: that much was done already, when
/// the schema was made.
#[test]
fn every_key_says_what_it_is_for() {
    fn look(path: &str, schema: &Json) {
        for alternative in schema.get("anyOf").and_then(Json::as_array).into_iter().flatten() {
            look(path, alternative);
        }
        for (key, schema) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let about = schema["description"].as_str().unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{path}.{key}: {about:?}");
            look(&format!("{path}.{key}"), schema);
        }
        if let Some(named) = schema.get("additionalProperties").filter(|named| named.is_object()) {
            look(&format!("{path}.*"), named);
        }
    }
    look("", &Config::schema());
}
