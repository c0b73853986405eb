//! The keys of one table: how each is found, and what is said about those that nobody asked for.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::literal::Literal;
use super::nearest::nearest;
use super::reader::{Reader, join, quoted, within};
use super::schema::{self, KnownKey, Presence};
use super::source::Source;
use super::table::{Named, Table};
use super::value::{Form, Value};

/// The keys of a table that is being read.
pub(crate) struct Keys<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) path: String,
    /// The table's header.
    pub(super) at: Range<usize>,
    table: &'a DeTable<'a>,
    role: Role<'a>,
    known: Vec<KnownKey>,
}

/// What a table has to do with `[defaults]`.
#[derive(Clone, Copy)]
pub(super) enum Role<'a> {
    /// Nothing.
    Ordinary,
    /// A key that it lacks is looked for in this table, and `false` switches one off that would be found there.
    Inherits(&'a DeTable<'a>),
    /// It is `[defaults]` itself: no key of it is missing.
    Defaults,
}

const DEFAULTS: &str = "defaults";

impl<'a> Keys<'a> {
    pub(super) fn read<T: Table>(
        reader: &'a Reader<'a>,
        table: &'a DeTable<'a>,
        path: String,
        at: Range<usize>,
    ) -> Option<T> {
        Self::read_as(reader, table, path, at, Role::Ordinary)
    }

    fn read_as<T: Table>(
        reader: &'a Reader<'a>,
        table: &'a DeTable<'a>,
        path: String,
        at: Range<usize>,
        role: Role<'a>,
    ) -> Option<T> {
        let mut keys = Keys { reader, path, at, table, role, known: Vec::new() };
        let read = T::read(&mut keys);
        keys.refuse_others(T::NOT_BUILT);
        read
    }

    /// The schema of a table: what it asks for when it is given nothing.
    pub(super) fn describe<T: Table>(role: Role<'a>) -> Json {
        let (found, empty) = (RefCell::default(), DeTable::new());
        let reader = Reader {
            source: Source::new("", ""),
            base_dir: Path::new(""),
            env: &|_| None,
            complete: true,
            empty: DeTable::new(),
            found: &found,
        };
        let mut keys = Keys { reader: &reader, path: String::new(), at: 0..0, table: &empty, role, known: Vec::new() };
        T::read(&mut keys);
        schema::of_table(&keys.known, T::NOT_BUILT)
    }

    // === Keys ===

    /// A key that may be absent.
    pub(crate) fn optional<F: Form>(&mut self, key: &'static str, about: &'static str) -> Option<F::Output> {
        F::read(&self.find::<F>(key, about, Presence::Optional)?)
    }

    /// A key that has a default. The default is written as it would be in the file: `"10s"`, `100`, `["a", "b"]`.
    pub(crate) fn or<F: Form>(
        &mut self,
        key: &'static str,
        default: impl Into<Literal>,
        about: &'static str,
    ) -> F::Output {
        let default = default.into();
        let value = self.find::<F>(key, about, Presence::Default(default.clone()));
        // After a fault the default stands in, so that what follows is still looked at.
        value.and_then(|value| F::read(&value)).unwrap_or_else(|| self.default::<F>(key, &default))
    }

    /// A key that must be there.
    pub(crate) fn required<F: Form>(&mut self, key: &'static str, about: &'static str) -> Option<F::Output> {
        let value = self.find::<F>(key, about, Presence::Required);
        if value.is_none() && !matches!(self.role, Role::Defaults) {
            self.reader.missing(&self.at, &self.path, key, &F::expects());
        }
        F::read(&value?)
    }

    /// A table that has its defaults where it is absent.
    pub(super) fn table<T: Table>(&mut self, key: &'static str, about: &'static str) -> Option<T> {
        match self.find::<T>(key, about, Presence::Optional) {
            Some(value) => <T as Form>::read(&value),
            None => Keys::read(self.reader, &self.reader.empty, join(&self.path, key), self.at.clone()),
        }
    }

    /// Whether the key is `false` where it might have been inherited, for a key whose absence means something else.
    /// All other ways to ask for such a key take it for absent.
    pub(super) fn is_off(&self, key: &str) -> bool {
        let node = self.table.get(key).or_else(|| self.inherited(key));
        node.is_some_and(|node| self.is_switchable() && is_false(node))
    }

    /// Of keys of which exactly one must be there, the one that is: what the table says itself goes before what it
    /// inherits. Nothing where a fault has been reported.
    pub(super) fn one_of(&self, keys: &[&'static str], expects: &str) -> Option<&'static str> {
        let is_given = |table: &DeTable<'_>, key: &str| {
            table.get(key).is_some_and(|node| !(self.is_switchable() && is_false(node)))
        };
        let own: Vec<_> = keys.iter().copied().filter(|key| is_given(self.table, key)).collect();
        let given = match self.role {
            Role::Inherits(defaults) if own.is_empty() => {
                keys.iter().copied().filter(|key| !self.table.contains_key(*key) && is_given(defaults, key)).collect()
            }
            _ => own,
        };
        match (&given[..], self.role) {
            ([one], _) => return Some(one),
            ([], Role::Defaults) => {}
            ([], _) => self.reader.missing(&self.at, &self.path, keys[0], expects),
            ([first, .., last], _) => {
                let message = format!("{last:?} stands beside {first:?} {}; remove one", within(&self.path));
                let at = self.table.get(*last).map_or(self.at.clone(), Spanned::span);
                self.reader.fault(&at, &join(&self.path, last), message);
            }
        }
        None
    }

    /// The tables within a table whose keys are names, in the order of the file. Nothing where a fault has been
    /// reported.
    pub(super) fn named<T: Table>(&mut self, key: &'static str, about: &'static str) -> Option<Vec<Named<T>>> {
        self.note(key, about, Presence::Optional, || schema::of_named(T::schema()));
        self.tables(key, Role::Ordinary)
    }

    /// The same, where each has what `[defaults]` says unless it says otherwise.
    pub(super) fn named_with_defaults<T: Table>(
        &mut self,
        key: &'static str,
        about: &'static str,
    ) -> Option<Vec<Named<T>>> {
        let about_defaults = "any key of a route: what a route has unless it says otherwise, or false";
        let partial = || Keys::describe::<T>(Role::Defaults);
        self.note(DEFAULTS, about_defaults, Presence::Optional, partial);
        let reader = self.reader;
        let defaults = match self.value(DEFAULTS) {
            None => &reader.empty,
            Some(value) => match value.table() {
                None => {
                    value.fault(&format!("{} is not a table", value.as_written()));
                    &reader.empty
                }
                Some(defaults) => {
                    // Also what no route inherits must be right.
                    let as_itself =
                        || Keys::read_as::<T>(reader, defaults, value.path, value.node.span(), Role::Defaults);
                    reader.aside(as_itself);
                    defaults
                }
            },
        };
        self.note(key, about, Presence::Optional, || {
            schema::of_named(Keys::describe::<T>(Role::Inherits(&DeTable::new())))
        });
        self.tables(key, Role::Inherits(defaults))
    }

    /// Whether no fault was found so far in what these keys hold.
    pub(super) fn are_sound(&self, keys: &[&str]) -> bool {
        let paths = |key| [join(&self.path, key), join(DEFAULTS, key)];
        !keys.iter().flat_map(|key| paths(key)).any(|path| self.reader.has_fault_in(&path))
    }

    /// Whether no fault was found so far in what these keys of this table hold.
    pub(super) fn are_sound_here(&self, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.reader.has_fault_in(&join(&self.path, key)))
    }

    /// Whether the table has this key, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where a key's table begins; where it is absent, where this one does.
    pub(super) fn header_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.at.clone(), Spanned::span)
    }

    /// The same for a key of that table.
    pub(super) fn place_in(&self, table: &str, key: &str) -> Range<usize> {
        let node = self.table.get(table).and_then(|node| node.get_ref().as_table()?.get(key));
        node.map_or(self.header_of(table), Spanned::span)
    }

    // === How they are found ===

    fn find<F: Form>(&mut self, key: &'static str, about: &'static str, presence: Presence) -> Option<Value<'a>> {
        self.note(key, about, presence, F::schema);
        self.value(key)
    }

    fn note(&mut self, name: &'static str, about: &'static str, presence: Presence, schema: fn() -> Json) {
        let presence = match presence {
            // Somebody's defaults may say it.
            Presence::Required if !matches!(self.role, Role::Ordinary) => Presence::Optional,
            presence => presence,
        };
        self.known.push(KnownKey { name, about, presence, schema, switchable: self.is_switchable() });
    }

    fn value(&self, key: &str) -> Option<Value<'a>> {
        let (table, node) = match self.table.get(key) {
            Some(node) => (self.path.as_str(), node),
            None => (DEFAULTS, self.inherited(key)?),
        };
        let is_absent = self.is_switchable() && is_false(node);
        (!is_absent).then(|| Value { reader: self.reader, path: join(table, key), node })
    }

    fn inherited(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        match self.role {
            Role::Inherits(defaults) => defaults.get(key),
            Role::Ordinary | Role::Defaults => None,
        }
    }

    fn is_switchable(&self) -> bool {
        !matches!(self.role, Role::Ordinary)
    }

    fn default<F: Form>(&self, key: &str, default: &Literal) -> F::Output {
        let text = default.to_string();
        let read = DeValue::parse(&text)
            .ok()
            .and_then(|node| F::read(&Value { reader: self.reader, path: join(&self.path, key), node: &node }));
        read.unwrap_or_else(|| unreachable!("the default of {key} is {text}, which is not {}", F::expects()))
    }

    fn tables<T: Table>(&self, key: &str, role: Role<'a>) -> Option<Vec<Named<T>>> {
        let Some(value) = self.value(key) else {
            return Some(Vec::new());
        };
        let Some(table) = value.table() else {
            value.fault(&format!("{} is not a table of tables; write [{key}.NAME]", value.as_written()));
            return None;
        };
        let mut named: Vec<Named<T>> =
            table.iter().map(|(name, node)| self.one_named(&value.path, name, node, role)).collect();
        named.sort_by_key(|named| named.at.start);
        Some(named)
    }

    fn one_named<T: Table>(
        &self,
        parent: &str,
        name: &'a Spanned<Cow<'a, str>>,
        node: &'a Spanned<DeValue<'a>>,
        role: Role<'a>,
    ) -> Named<T> {
        let value = Value { reader: self.reader, path: join(parent, name.get_ref()), node };
        if name.get_ref().is_empty() {
            self.reader.fault(&name.span(), &value.path, format!("{}: the name is empty; give it one", value.path));
        }
        let read = match value.table() {
            Some(table) => Keys::read_as(self.reader, table, value.path.clone(), node.span(), role),
            None => <T as Form>::read(&value),
        };
        Named { name: name.get_ref().to_string(), value: read, at: node.span(), path: value.path }
    }

    // === The others ===

    fn refuse_others(&self, not_built: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.known.iter().any(|known| known.name == name) {
                continue;
            }
            let problem = if not_built.contains(&name) {
                format!("{name:?} {} is part of the format but not built yet", within(&self.path))
            } else {
                format!("unknown key {} {}{}", quoted(name), within(&self.path), self.hint(name, not_built))
            };
            self.reader.fault(&key.span(), &join(&self.path, name), problem);
        }
    }

    fn hint(&self, unknown: &str, not_built: &[&str]) -> String {
        let known = self.known.iter().map(|known| known.name).chain(not_built.iter().copied());
        match nearest(unknown, known) {
            Some(nearest) if nearest.is_close() => format!("; did you mean {:?}?", nearest.name),
            Some(nearest) => format!("; the nearest known key is {:?}", nearest.name),
            None => String::new(),
        }
    }
}

fn is_false(node: &Spanned<DeValue<'_>>) -> bool {
    matches!(node.get_ref(), DeValue::Boolean(false))
}
