use proptest::prelude::*;

use super::*;

fn normal(path: &str) -> String {
    normalise(path).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}")).into_owned()
}

#[track_caller]
fn refused(path: &str, with: Refusal) {
    assert_eq!(normalise(path), Err(with), "{path}");
}

#[test]
fn a_normal_path_is_not_copied() {
    for path in [
        "/",
        "/api/users/42",
        "/api/",
        "/a.b/c..d/...",
        "/.well-known/acme",
        "/a%20b",
        "/a%2Fb",
        "/a;v=1/b",
        "/%25",
        "/caf%C3%A9",
        "/@:!$&'()*+,=~-_",
    ] {
        assert!(matches!(normalise(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
    }
}

#[test]
fn dot_segments_are_resolved_however_they_are_written() {
    for (path, expected) in [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2E/b", "/a/b"),
        ("/public/..//admin", "/admin"),
        ("/a//../b", "/b"),
        ("/a/b/c/../../d", "/a/d"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
}

#[test]
fn slashes_in_a_row_are_one() {
    assert_eq!(normal("//admin"), "/admin");
    assert_eq!(normal("/a///b//"), "/a/b/");
    assert_eq!(normal("//"), "/");
    assert_eq!(normal("/././/"), "/");
}

#[test]
fn unreserved_characters_are_decoded_and_other_encodings_are_upper_case() {
    assert_eq!(normal("/%61dmin/%7euser/%2D"), "/admin/~user/-");
    assert_eq!(normal("/a%2fb%3a%c3%a9"), "/a%2Fb%3A%C3%A9");
}

#[test]
fn what_was_encoded_twice_is_data() {
    assert_eq!(normal("/%252e%252e/%252F/%2541"), "/%252e%252e/%252F/%2541");
}

#[test]
fn a_path_that_climbs_above_the_root_is_refused() {
    for path in ["/..", "/../etc", "/a/../../b", "/%2e%2e/a", "/./../a", "//../a"] {
        refused(path, ABOVE_ROOT);
    }
}

#[test]
fn dots_before_path_parameters_and_encoded_slashes_are_refused() {
    for path in [
        "/a/..;/b",
        "/a/.;x/b",
        "/..;a=b",
        "/a/;/b",
        "/;x",
        "/a/..%3b/b",
        "/a/%2e%2e;/b",
        "/..%2fetc",
        "/a%2f..%2Fb",
        "/a/x%2F..;/b",
    ] {
        refused(path, DISGUISED);
    }
    assert_eq!(normal("/a;x=../b"), "/a;x=../b");
}

#[test]
fn backslashes_are_refused() {
    for path in ["/a\\b", "/a%5cb", "/..%5C..", "/\\example.com"] {
        refused(path, BACKSLASH);
    }
}

#[test]
fn control_characters_are_refused() {
    for path in ["/a%00", "/a%0d%0aHost:x", "/%7F", "/%1f", "/a\u{1}", "/a b"] {
        refused(path, CONTROL);
    }
}

#[test]
fn malformed_encodings_are_refused() {
    for path in ["/%", "/%2", "/%zz", "/a%2g", "/%%32%65", "/%u002e", "/%+1"] {
        refused(path, MALFORMED);
    }
}

#[test]
fn overlong_encodings_are_refused() {
    for path in ["/%c0%af", "/%c0%ae%c0%ae/", "/%C1%9C", "/%e0%80%af", "/%f0%80%80%af"] {
        refused(path, OVERLONG);
    }
    assert_eq!(normal("/%E0%A4%A8%F0%90%8D%88"), "/%E0%A4%A8%F0%90%8D%88");
}

#[test]
fn raw_bytes_beyond_ascii_are_refused() {
    refused("/caf\u{e9}", NOT_ASCII);
}

#[test]
fn an_encoded_slash_is_seen() {
    assert!(has_encoded_slash("/a%2Fb") && has_encoded_slash("/%20%2f"));
    assert!(!has_encoded_slash("/a%252Fb") && !has_encoded_slash("/a/b%2") && !has_encoded_slash("/%"));
}

/// Paths of the pieces that matter to the rules.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = [
        "/", "//", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "%00", "%25", "%61", "%c3%a9", "%C0%AE", ";", "%3b",
        "a", "b", "\\", "%", "2", "e", "F",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..16)
        .prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn the_normal_form_is_its_own(path in prop_oneof![hostile(), "/[ -~]{0,24}"]) {
        if let Ok(once) = normalise(&path) {
            let again = normalise(&once);
            prop_assert!(matches!(&again, Ok(Cow::Borrowed(same)) if *same == once), "{path}: {once}, {again:?}");
        }
    }

    #[test]
    fn the_normal_form_holds_nothing_that_can_be_read_in_two_ways(path in prop_oneof![hostile(), "/[ -~]{0,24}"]) {
        if let Ok(normal) = normalise(&path) {
            let lower = normal.to_ascii_lowercase();
            prop_assert!(normal.starts_with('/') && normal.is_ascii(), "{normal}");
            for never in ["//", "\\", "%5c", "%00", "%2e", "/.;", "/..;", "%c0"] {
                prop_assert!(!lower.contains(never), "{path}: {normal}");
            }
            let mut pieces = lower.split('/').flat_map(|segment| segment.split("%2f"));
            prop_assert!(!pieces.any(|piece| matches!(piece, "." | "..")), "{path}: {normal}");
        }
    }

    #[test]
    fn a_clean_path_is_a_normal_one(path in "/[a-z./;%]{0,24}") {
        if is_clean(&path) {
            let slowly = decode_unreserved(&path).and_then(|decoded| resolve(&decoded));
            prop_assert_eq!(slowly, Ok(path));
        }
    }

    #[test]
    fn any_text_is_normalised_or_refused(path in "\\PC*") {
        let _ = normalise(&path);
    }
}
