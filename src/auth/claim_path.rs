//! Where in a token's claims something stands.

use serde_json::{Map, Value};

/// What `path` names in `claims`: a member of that very name (`https://example.com/roles`), or one further down
/// (`realm_access.roles`).
pub(crate) fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| match claims.get(&path[..dot]) {
        Some(Value::Object(inner)) => find(inner, &path[dot + 1..]),
        _ => None,
    })
}

/// The texts of the first of `paths` that is there: an array's, or the one that a string is.
pub(super) fn texts<'a>(claims: &'a Map<String, Value>, paths: &[Box<str>]) -> Vec<&'a str> {
    match paths.iter().find_map(|path| find(claims, path)) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_path_is_a_name_first_and_then_a_way_down() {
        let claims = claims(r#"{"a.b":1,"a":{"b":2,"c":{"d":3}},"https://x.example/r":{"y.z":4}}"#);
        let at = |path| find(&claims, path).and_then(Value::as_u64);
        assert_eq!((at("a.b"), at("a.c.d"), at("https://x.example/r.y.z")), (Some(1), Some(3), Some(4)));
        assert_eq!((at("a.x"), at("a.b.c"), at(""), at(".")), (None, None, None, None));
    }

    #[test]
    fn texts_are_those_of_a_string_or_an_array_and_of_nothing_else() {
        let claims = claims(r#"{"one":"x y","many":["x",1,"y",null],"no":{"x":1}}"#);
        let at = |paths: &[&str]| texts(&claims, &paths.iter().map(|path| Box::from(*path)).collect::<Vec<_>>());
        assert_eq!(at(&["none", "one", "many"]), ["x y"]);
        assert_eq!(at(&["many"]), ["x", "y"]);
        assert_eq!(at(&["no"]), [""; 0]);
    }
}
