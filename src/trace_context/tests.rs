use super::*;
use proptest::prelude::*;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap())).collect()
}

/// What is passed on of a valid `traceparent` and these lines of `tracestate`.
fn state_of(lines: &[&str]) -> Option<String> {
    let mut headers = headers(&[(&TRACEPARENT, TRACE)]);
    for line in lines {
        headers.append(&TRACESTATE, HeaderValue::from_str(line).unwrap());
    }
    TraceContext::from_headers(&headers).unwrap().tracestate().map(str::to_owned)
}

fn parsed(traceparent: &str) -> Option<String> {
    TraceContext::parse(traceparent.as_bytes()).map(|context| context.traceparent().to_owned())
}

#[test]
fn a_version_00_header_is_exactly_55_bytes() {
    assert_eq!(parsed(TRACE).as_deref(), Some(TRACE));
    assert_eq!(parsed(&TRACE[..54]), None);
    assert_eq!(parsed(&format!("{TRACE}-")), None);
    assert_eq!(parsed(&format!("{TRACE}-extra")), None);
    assert_eq!(parsed(&format!(" {TRACE}")), None);
    assert_eq!(parsed(""), None);
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known_and_passed_on_as_version_00() {
    let later = TRACE.replacen("00", "cc", 1);
    assert_eq!(parsed(&later).as_deref(), Some(TRACE));
    assert_eq!(parsed(&format!("{later}-what-the-future-will-be-like")).as_deref(), Some(TRACE));
    assert_eq!(parsed(&format!("{later}.what")), None);
    assert_eq!(parsed(&TRACE.replacen("00", "ff", 1)), None);
}

#[test]
fn upper_case_and_zero_ids_are_invalid() {
    assert_eq!(parsed(&TRACE.to_uppercase()), None);
    assert_eq!(parsed("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
    assert_eq!(parsed("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"), None);
}

#[test]
fn flags_of_unknown_meaning_are_cleared() {
    let flags = |version: &str, flags: &str| {
        let text = parsed(&format!("{version}{}{flags}", &TRACE[2..53])).unwrap();
        text[53..].to_owned()
    };
    assert_eq!(flags("00", "00"), "00");
    assert_eq!(flags("00", "ff"), "03", "sampled and the random trace id");
    assert_eq!(flags("00", "fe"), "02");
    assert_eq!(flags("00", "0b"), "03");
    assert_eq!(flags("01", "ff"), "01", "of another version only sampled is known");
    assert_eq!(flags("01", "fa"), "00");
}

#[test]
fn two_traceparent_lines_are_no_trace() {
    assert!(TraceContext::from_headers(&headers(&[(&TRACEPARENT, TRACE), (&TRACEPARENT, TRACE)])).is_none());
    assert!(TraceContext::from_headers(&HeaderMap::new()).is_none());
}

#[test]
fn a_child_keeps_all_but_its_parent_id() {
    let caller = TraceContext::from_headers(&headers(&[(&TRACEPARENT, TRACE), (&TRACESTATE, "a=1")])).unwrap();
    let child = caller.child(NonZeroU64::new(0xabc).unwrap());
    assert_eq!(child.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01");
    assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(child.parent_id(), "0000000000000abc");
    assert_eq!(child.tracestate(), Some("a=1"));
    assert!(child.is_sampled());
}

#[test]
fn a_trace_that_starts_says_that_its_id_is_random() {
    let start = |sampled| TraceContext::start(NonZeroU128::MAX, NonZeroU64::MIN, sampled);
    assert_eq!(start(false).traceparent(), "00-ffffffffffffffffffffffffffffffff-0000000000000001-02");
    assert_eq!(start(true).traceparent(), "00-ffffffffffffffffffffffffffffffff-0000000000000001-03");
    assert!(start(true).is_sampled() && !start(false).is_sampled());
}

#[test]
fn writing_leaves_exactly_one_context() {
    let mut headers = headers(&[(&TRACEPARENT, "x"), (&TRACEPARENT, "y"), (&TRACESTATE, "a=1"), (&TRACESTATE, "b=2")]);
    TraceContext::parse(TRACE.as_bytes()).unwrap().write_into(&mut headers);
    assert_eq!(headers.get_all(&TRACEPARENT).iter().collect::<Vec<_>>(), [TRACE]);
    assert!(!headers.contains_key(&TRACESTATE), "a state belongs to the trace it came with");
}

#[test]
fn lines_of_tracestate_are_one_list_in_order() {
    assert_eq!(state_of(&["a=1,b=2", "c=3"]).as_deref(), Some("a=1,b=2,c=3"));
    assert_eq!(state_of(&["a=1", "", "c=3"]).as_deref(), Some("a=1,c=3"));
    assert_eq!(state_of(&["a=1 ,\t,,  b=2"]).as_deref(), Some("a=1,b=2"));
    assert_eq!(state_of(&["a=1 , b=2"]).as_deref(), Some("a=1 , b=2"), "one good line passes as it is");
    assert_eq!(state_of(&["", " , "]), None);
    assert_eq!(state_of(&[]), None);
}

#[test]
fn of_a_key_that_comes_twice_the_first_is_kept() {
    assert_eq!(state_of(&["a=1,b=2,a=3", "b=4"]).as_deref(), Some("a=1,b=2"));
    assert_eq!(state_of(&["ab=1,a=2"]).as_deref(), Some("ab=1,a=2"));
}

#[test]
fn a_malformed_member_drops_the_whole_list() {
    let long_key = format!("{}=1", "k".repeat(257));
    let long_value = format!("k={}", "v".repeat(257));
    for bad in
        ["a", "=1", "a=", "a= ", "A=1", "a =1", "a=1=2", "a.b=1", "_a=1", "@a=1", "a=\t1\t2", &long_key, &long_value]
    {
        assert_eq!(state_of(&["x=1", bad]), None, "{bad:?}");
    }
    for good in ["0a=1", "a_-*/@z=1", "a@b@c=1", "a= 1", "a=!~", &long_key[1..], &long_value[..258]] {
        assert_eq!(state_of(&[good]).as_deref(), Some(good));
    }
    let mut headers = headers(&[(&TRACEPARENT, TRACE)]);
    headers.append(&TRACESTATE, HeaderValue::from_bytes(b"a=\xff").unwrap());
    assert_eq!(TraceContext::from_headers(&headers).unwrap().tracestate(), None);
}

#[test]
fn a_list_has_at_most_32_members() {
    let list = |members| (0..members).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    assert_eq!(state_of(&[&list(32)]), Some(list(32)));
    assert_eq!(state_of(&[&list(33)]), None);
    assert_eq!(state_of(&[&list(20), "y=1,y=2,y=3", &list(10)]), None, "those that repeat are counted");
}

#[test]
fn a_list_too_long_loses_its_large_members_first_and_then_its_last() {
    let member = |key: &str, length: usize| format!("{key}={}", "v".repeat(length - key.len() - 1));
    let (small, large) = (|key| member(key, 128), |key| member(key, 129));
    assert_eq!(state_of(&[&small("a"), &large("b"), &small("c"), &large("d")]), {
        Some([small("a"), large("b"), small("c")].join(","))
    });
    assert_eq!(state_of(&[&large("b"), &small("a"), &small("c"), &small("d")]), {
        Some([small("a"), small("c"), small("d")].join(","))
    });
    // Four of 128 and three commas are 515.
    assert_eq!(state_of(&[&[small("a"), small("b"), small("c"), small("d")].join(",")]), {
        Some([small("a"), small("b"), small("c")].join(","))
    });
    let exact = [small("a"), small("b"), small("c"), member("d", 125)].join(",");
    assert_eq!(exact.len(), 512);
    assert_eq!(state_of(&[&exact]), Some(exact));
    let widest = format!("{}={}", "k".repeat(256), "v".repeat(256));
    assert_eq!(state_of(&[&widest]), None, "a single member of 513");
}

#[test]
fn white_space_that_makes_a_list_too_long_goes_before_a_member_does() {
    let spaced = format!("a=1,{}b=2", " ".repeat(600));
    assert_eq!(state_of(&[&spaced]).as_deref(), Some("a=1,b=2"));
}

/// The grammar once more, in another way than the parser's: by splitting.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, length| part.len() == length && part.chars().all(|c| "0123456789abcdef".contains(c));
    let parts: Vec<_> = text.split('-').collect();
    let [version, trace_id, parent_id, flags, rest @ ..] = &parts[..] else {
        return false;
    };
    is_hex(version, 2)
        && *version != "ff"
        && is_hex(trace_id, 32)
        && u128::from_str_radix(trace_id, 16) != Ok(0)
        && is_hex(parent_id, 16)
        && u64::from_str_radix(parent_id, 16) != Ok(0)
        && is_hex(flags, 2)
        && (*version != "00" || rest.is_empty())
}

fn is_member(text: &str) -> bool {
    let Some((key, value)) = text.split_once('=') else {
        return false;
    };
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*/@".contains(c);
    (1..=256).contains(&key.len())
        && key.chars().all(is_key)
        && !key.starts_with(['_', '-', '*', '/', '@'])
        && (1..=256).contains(&value.len())
        && value.chars().all(|c| c == ' ' || c.is_ascii_graphic() && c != ',' && c != '=')
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_to_the_same(trace_id: u128, parent_id: u64, sampled: bool) {
        let trace_id = NonZeroU128::new(trace_id).unwrap_or(NonZeroU128::MIN);
        let parent_id = NonZeroU64::new(parent_id).unwrap_or(NonZeroU64::MIN);
        let context = TraceContext::start(trace_id, parent_id, sampled);
        prop_assert_eq!(TraceContext::parse(context.traceparent().as_bytes()), Some(context.clone()));
        prop_assert_eq!(context.trace_id(), format!("{trace_id:032x}"));
        prop_assert_eq!(context.parent_id(), format!("{parent_id:016x}"));
        prop_assert_eq!(context.is_sampled(), sampled);
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes: Vec<u8>) {
        let _ = TraceContext::parse(&bytes);
    }

    #[test]
    fn only_the_grammar_of_traceparent_is_accepted(
        mut text in "(00|ff|[0-9a-f]{2})-(0{32}|[0-9a-f]{32})-(0{16}|[0-9a-f]{16})-[0-9a-f]{2}(-[a-z-]{0,5})?",
        change in proptest::option::weighted(0.5, (0_usize..60, "[0-9a-gA-F -]")),
    ) {
        if let Some((at, with)) = change {
            let at = at.min(text.len());
            text.replace_range(at..(at + 1).min(text.len()), &with);
        }
        prop_assert_eq!(TraceContext::parse(text.as_bytes()).is_some(), is_traceparent(&text), "{}", text);
    }

    #[test]
    fn only_the_grammar_of_tracestate_is_accepted(member in "[a-cA_@*/-]{1,4}[=, ]{0,2}[ -~]{0,6}") {
        let members: Vec<_> = member.split(',').map(|m| m.trim_matches(' ')).filter(|m| !m.is_empty()).collect();
        let is_list = !members.is_empty() && members.iter().all(|member| is_member(member));
        prop_assert_eq!(state_of(&[&member]).is_some(), is_list, "{}", member);
    }

    #[test]
    fn what_is_passed_on_is_short_and_is_passed_on_unchanged_by_the_next(
        lines in proptest::collection::vec("([a-z]{1,3}=[a-z]{1,200}[ ,]{0,2},){0,9}", 0..4),
    ) {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        if let Some(state) = state_of(&lines) {
            prop_assert!(state.len() <= 512);
            prop_assert!(state.split(',').all(|member| is_member(member.trim_matches(' '))));
            prop_assert_eq!(state_of(&[&state]), Some(state));
        }
    }
}
