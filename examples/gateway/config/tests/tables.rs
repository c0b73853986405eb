//! A table of the kind that a layer brings, which uses every form.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime};

use toml::de::DeTable;

use super::super::count::Count;
use super::super::date::PointInTime;
use super::super::duration::PositiveDuration;
use super::super::file::{FileText, TableFile};
use super::super::forms::{AnyKey, ListOf, MapOf, NonEmpty, OneOrMany, OrNone};
use super::super::literal::EMPTY;
use super::super::reader::Reader;
use super::super::secret::Secret;
use super::super::share::Share;
use super::super::source::Source;
use super::super::table::{Keys, Table};
use super::super::word::{Choice, Word};

#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    limit: NonZeroUsize,
    window: Option<Duration>,
    keys: Vec<Letter>,
    methods: Vec<Letter>,
    plans: BTreeMap<String, NonZeroUsize>,
    ratio: f64,
    expires: Option<SystemTime>,
    secret: Option<Secret>,
    certificate: Option<String>,
    entries: Option<Entries>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Letter {
    A,
    B,
}

#[derive(Debug, PartialEq)]
pub(super) struct Entries(Vec<Entry>);

#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    id: Letter,
    secret: Option<Secret>,
}

impl Choice for Letter {
    const BUILT: &'static [(&'static str, Self)] = &[("a", Self::A), ("b", Self::B)];
    const NOT_BUILT: &'static [&'static str] = &["c"];
}

impl Table for Sample {
    const NOT_BUILT: &'static [&'static str] = &["later"];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let limit = keys.required::<Count>("limit", "how many");
        let window = keys.or::<OrNone<PositiveDuration>>("window", "60s", "how long");
        let letters = keys.or::<OneOrMany<Word<Letter>>>("keys", "a", "by what");
        let methods = keys.or::<NonEmpty<Word<Letter>>>("methods", ["a", "b"], "for which");
        let plans = keys.optional::<MapOf<AnyKey, Count>>("plans", "by plan").unwrap_or_default();
        let ratio = keys.or::<Share>("ratio", 0.5, "what part");
        let expires = keys.optional::<PointInTime>("expires", "until when");
        let secret = keys.optional::<Secret>("secret", "what nobody may know");
        let certificate = keys.optional::<FileText>("certificate", "in PEM");
        let entries = keys.optional::<TableFile<Entries>>("file", "where the entries are");
        Some(Self {
            limit: limit?,
            window,
            keys: letters,
            methods,
            plans,
            ratio,
            expires,
            secret,
            certificate,
            entries,
        })
    }
}

impl Table for Entries {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Self(keys.or::<ListOf<Entry>>("entries", EMPTY, "all of them")))
    }
}

impl Table for Entry {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let id = keys.required::<Word<Letter>>("id", "which");
        let secret = keys.optional::<Secret>("secret", "its own");
        Some(Self { id: id?, secret })
    }
}

/// What was read; the faults, the warnings and the files.
type Outcome = (Option<Sample>, Vec<String>, Vec<String>, Vec<String>);

fn read_in(folder: &Path, text: &str) -> Outcome {
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    assert!(syntax_errors.is_empty(), "{syntax_errors:?}");
    let found = RefCell::default();
    let reader = Reader {
        source: Source::new("g.toml", text),
        base_dir: folder,
        env: &|name| (name == "SECRET").then(|| "hush".to_owned()),
        complete: true,
        empty: DeTable::new(),
        found: &found,
    };
    let sample = Keys::read(&reader, root.get_ref(), "sample".to_owned(), 0..0);
    let found = found.take();
    let printed = |findings: &[super::super::Finding]| findings.iter().map(ToString::to_string).collect();
    let files = found.files.keys().map(|file| file.display().to_string()).collect();
    (sample, printed(&found.faults), printed(&found.warnings), files)
}

fn read(text: &str) -> Outcome {
    read_in(Path::new(""), text)
}

fn accepted(text: &str) -> Sample {
    let (sample, faults, ..) = read(text);
    assert_eq!(faults, [] as [&str; 0]);
    sample.expect("without faults it is read")
}

fn only_fault(text: &str) -> String {
    let (sample, mut faults, ..) = read(text);
    assert_eq!(faults.len(), 1, "{faults:#?} of {sample:?}");
    faults.remove(0)
}

#[test]
fn defaults_are_read_as_though_they_stood_in_the_file() {
    let sample = accepted("limit = 1");
    assert_eq!(sample.window, Some(Duration::from_secs(60)));
    assert_eq!((sample.keys, sample.methods), (vec![Letter::A], vec![Letter::A, Letter::B]));
    assert_eq!((sample.ratio, sample.expires, sample.entries), (0.5, None, None));
}

#[test]
fn one_value_or_a_list_of_them() {
    assert_eq!(accepted("limit = 1\nkeys = \"b\"").keys, [Letter::B]);
    assert_eq!(accepted("limit = 1\nkeys = [\"b\", \"a\"]").keys, [Letter::B, Letter::A]);
    assert_eq!(
        only_fault("limit = 1\nkeys = []"),
        "g.toml:2:8: sample.keys: the list is empty; write a list in brackets, each entry \"a\" or \"b\", or leave the key out"
    );
    assert_eq!(
        only_fault("limit = 1\nkeys = [\"a\", \"c\"]"),
        "g.toml:2:14: sample.keys[1]: \"c\" is part of the format but not built yet; write \"a\" or \"b\""
    );
}

#[test]
fn tables_whose_keys_are_the_users_have_values_of_one_form() {
    let plans = accepted("limit = 1\nplans = { pro = 1000, \"gold plus\" = 5 }").plans;
    assert_eq!(
        plans.iter().map(|(plan, limit)| (plan.as_str(), limit.get())).collect::<Vec<_>>(),
        [("gold plus", 5), ("pro", 1000)]
    );
    assert_eq!(
        only_fault("limit = 1\nplans = { pro = 0 }"),
        "g.toml:2:17: sample.plans.pro: 0 is not a whole number from 1 to 4294967295"
    );
    assert_eq!(
        only_fault("limit = 1\nplans = { \"\" = 1 }"),
        "g.toml:2:11: sample.plans.\"\": the key \"\" is not a name"
    );
    assert!(
        only_fault("limit = 1\nplans = 3")
            .ends_with("3 is not a table, each key a name and each value a whole number from 1 to 4294967295")
    );
}

#[test]
fn shares_are_numbers_from_zero_to_one() {
    for (written, expected) in [("0", 0.0), ("1", 1.0), ("0.25", 0.25), ("1e-3", 0.001), ("\"${X:-0.5}\"", 0.5)] {
        assert_eq!(accepted(&format!("limit = 1\nratio = {written}")).ratio, expected, "{written}");
    }
    for written in ["1.1", "-0.1", "nan", "inf", "2", "\"0.5\"", "true"] {
        assert!(
            only_fault(&format!("limit = 1\nratio = {written}")).ends_with("is not a number from 0.0 to 1.0"),
            "{written}"
        );
    }
}

#[test]
fn points_in_time_have_an_offset() {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600);
    for written in ["2027-01-01T00:00:00Z", "2027-01-01 01:00:00+01:00", "\"${X:-2027-01-01T00:00:00Z}\""] {
        assert_eq!(accepted(&format!("limit = 1\nexpires = {written}")).expires, Some(new_year), "{written}");
    }
    for written in ["2027-01-01", "2027-01-01T00:00:00", "12:00:00", "\"soon\"", "1"] {
        let fault = only_fault(&format!("limit = 1\nexpires = {written}"));
        assert!(fault.ends_with("is not a date and time with its offset such as 2027-01-01T00:00:00Z"), "{fault}");
    }
}

#[test]
fn secrets_are_not_printed_and_are_warned_of_where_they_stand_in_the_file() {
    let (sample, faults, warnings, _) = read("limit = 1\nsecret = \"${SECRET}\"");
    assert!(faults.is_empty() && warnings.is_empty(), "{faults:?} {warnings:?}");
    let secret = sample.unwrap().secret.unwrap();
    assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("hush", "Secret(..)"));

    let (sample, _, warnings, _) = read("limit = 1\nsecret = \"in the $${file\"");
    assert_eq!(sample.unwrap().secret.unwrap().expose(), "in the ${file");
    assert_eq!(
        warnings,
        [
            "g.toml:2:10: sample.secret: a secret stands in the file itself; put it into a variable and write \"${NAME}\", \
          or into a file and write \"${file:PATH}\""
        ]
    );
    for written in ["\"\"", "12345678"] {
        let fault = only_fault(&format!("limit = 1\nsecret = {written}"));
        assert!(fault.starts_with("g.toml:2:10: sample.secret: ") && !fault.contains("12345678"), "{fault}");
    }
}

#[test]
fn files_that_are_named_belong_to_the_configuration_and_have_lines_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), "PEM\n").unwrap();
    std::fs::write(folder.path().join("keys.toml"), "[[entries]]\nid = \"a\"\n\n[[entries]]\nid = \"x\"\nidd = 1\n")
        .unwrap();
    let (_, faults, _, files) = read_in(folder.path(), "limit = 1\ncertificate = \"cert.pem\"\nfile = \"keys.toml\"");
    let keys = folder.path().join("keys.toml").display().to_string();
    assert_eq!(
        faults,
        [
            format!("{keys}:5:6: entries[1].id: \"x\" is not \"a\" or \"b\""),
            format!("{keys}:6:1: unknown key \"idd\" in entries[1]; did you mean \"id\"?"),
        ]
    );
    assert_eq!(files, [folder.path().join("cert.pem").display().to_string(), keys.clone()]);

    std::fs::write(folder.path().join("keys.toml"), "[[entries]]\nid = \"b\"\nsecret = \"open\"\n").unwrap();
    let (sample, faults, warnings, _) =
        read_in(folder.path(), "limit = 1\ncertificate = \"cert.pem\"\nfile = \"keys.toml\"");
    assert_eq!(faults, [] as [&str; 0]);
    assert!(warnings[0].starts_with(&format!("{keys}:3:10: entries[0].secret: a secret stands")), "{warnings:?}");
    let sample = sample.unwrap();
    assert_eq!(sample.certificate.as_deref(), Some("PEM\n"));
    assert_eq!(sample.entries.unwrap().0[0].id, Letter::B);

    std::fs::write(folder.path().join("keys.toml"), "[[entries]\n").unwrap();
    let (_, faults, ..) = read_in(folder.path(), "limit = 1\nfile = \"keys.toml\"");
    assert!(faults[0].starts_with(&format!("{keys}:1:")) && faults[0].contains("not TOML"), "{faults:?}");

    let (_, faults, _, files) = read_in(folder.path(), "limit = 1\nfile = \"absent.toml\"");
    assert!(faults[0].starts_with("g.toml:2:8: sample.file: the file \"absent.toml\" cannot be read: "), "{faults:?}");
    assert_eq!(files.len(), 1, "it may be there the next time");
}
