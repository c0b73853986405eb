use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted() -> CidrSet {
    CidrSet::parse(["10.0.0.0/8", "2001:db8:1b::/48"]).unwrap()
}

fn walked(list: &str) -> Vec<String> {
    let entries = list.as_bytes().rsplit(|byte| *byte == b',');
    believed_hops(entries, address_in_entry, &trusted()).iter().map(|hop| hop.address.to_string()).collect()
}

#[test]
fn the_walk_ends_at_the_first_address_that_is_not_trusted() {
    assert_eq!(walked("192.0.2.66, 203.0.113.9, 10.0.0.2"), ["10.0.0.2", "203.0.113.9"]);
    assert_eq!(walked("192.0.2.66,2001:db8:1b::7"), ["2001:db8:1b::7", "192.0.2.66"]);
}

#[test]
fn where_all_are_trusted_the_walk_ends_at_the_leftmost() {
    assert_eq!(walked("10.0.0.3, 10.0.0.2"), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn an_entry_that_names_no_address_ends_the_walk() {
    for nameless in ["unknown", "_hidden", "", "203.0.113.9.1", "unix:", "\"203.0.113.9\""] {
        assert_eq!(walked(&format!("192.0.2.66, {nameless}, 10.0.0.2")), ["10.0.0.2"], "{nameless}");
        assert!(walked(&format!("192.0.2.66, {nameless}")).is_empty(), "{nameless}");
    }
}

#[test]
fn no_more_than_the_nearest_entries_are_looked_at() {
    let endless = vec!["10.0.0.1"; 10 * MAX_HOPS].join(",");
    assert_eq!(walked(&endless).len(), MAX_HOPS);
}

#[test]
fn an_entry_is_an_address_in_any_of_five_forms() {
    for (entry, address) in [
        ("192.0.2.1", "192.0.2.1"),
        (" \t192.0.2.1\t ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("[2001:db8::1]:65535", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
    ] {
        assert_eq!(address_in_entry(entry.as_bytes()), Some(ip(address)), "{entry}");
    }
}

#[test]
fn nothing_else_is_an_entry() {
    for entry in [
        "",
        "localhost",
        "010.0.0.1",
        "192.0.2.1:",
        "192.0.2.1:+80",
        "192.0.2.1:65536",
        "192.0.2.1:000080",
        "192.0.2.1:80:80",
        "[192.0.2.1]",
        "[192.0.2.1]:80",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "[2001:db8::1] :80",
        "fe80::1%eth0",
        "[fe80::1%3]:80",
        "192.0.2.1 192.0.2.2",
        "for=192.0.2.1",
        "192.0.2.1\u{a0}",
    ] {
        assert_eq!(address_in_entry(entry.as_bytes()), None, "{entry}");
    }
    assert_eq!(address_in_entry(b"\xff\xfe"), None);
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Proxy(u8),
    Stranger(u8),
    Nameless,
}

impl Entry {
    fn written(self) -> String {
        match self {
            Self::Proxy(last) => format!("10.0.0.{last}"),
            Self::Stranger(last) => format!("203.0.113.{last}"),
            Self::Nameless => "unknown".to_owned(),
        }
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        6 => any::<u8>().prop_map(Entry::Proxy),
        2 => any::<u8>().prop_map(Entry::Stranger),
        1 => Just(Entry::Nameless),
    ]
}

proptest! {
    #[test]
    fn nothing_left_of_the_first_stranger_is_ever_believed(entries in proptest::collection::vec(any_entry(), 1..100)) {
        let list = entries.iter().map(|entry| entry.written()).collect::<Vec<_>>();

        let mut expected = Vec::new();
        for (entry, written) in entries.iter().zip(&list).rev().take(MAX_HOPS) {
            match entry {
                Entry::Nameless => break,
                Entry::Proxy(_) => expected.push(written.clone()),
                Entry::Stranger(_) => {
                    expected.push(written.clone());
                    break;
                }
            }
        }
        prop_assert_eq!(walked(&list.join(", ")), expected);
    }

    #[test]
    fn every_address_is_read_in_every_form(address: IpAddr, port: u16) {
        let bare = address.to_string();
        let forms = match address {
            IpAddr::V4(_) => vec![bare.clone(), format!("{bare}:{port}")],
            IpAddr::V6(_) => vec![bare.clone(), format!("[{bare}]"), format!("[{bare}]:{port}")],
        };
        for form in forms {
            prop_assert_eq!(address_in_entry(form.as_bytes()), Some(address.to_canonical()));
        }
    }

    #[test]
    fn no_bytes_make_the_walk_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = believed_hops(line.rsplit(|byte| *byte == b','), address_in_entry, &trusted());
        let _ = address_in_entry(&line);
    }

    #[test]
    fn no_text_of_an_entrys_letters_makes_the_walk_panic(line in r"[\[\]:.,0-9a-f \t]{0,60}") {
        let _ = believed_hops(line.as_bytes().rsplit(|byte| *byte == b','), address_in_entry, &trusted());
    }
}
