//! One table of the file: which keys it has, which of them are known, and what is said about the others.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::reader::{Reader, join, quoted, within};
use super::value::{Form, Value};

/// A table of the contract. Known are the keys that `read` asks for, so a key, its form and its default stand in one
/// line of the code; `read` asks for all of them, whatever it finds.
pub(super) trait Table: Sized {
    /// Keys of the contract that later versions read. Nothing is left in these lists once the contract is built.
    const NOT_BUILT: &'static [&'static str];

    /// Nothing only where a fault has been reported.
    fn read(keys: &mut Keys<'_>) -> Option<Self>;
}

impl<T: Table> Form for T {
    type Output = T;

    fn expects() -> String {
        "a table".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<T> {
        let Some(table) = value.table() else {
            value.is_not::<T>();
            return None;
        };
        Keys::read(value.reader, table, value.path.clone(), value.at())
    }
}

/// The keys of a table that is being read.
pub(super) struct Keys<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) path: String,
    /// The table's header.
    pub(super) at: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

/// A table whose name the user chose, such as `[upstreams.users]`.
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) path: String,
    /// The table's header.
    pub(super) at: Range<usize>,
    /// Absent where a fault has been reported.
    pub(super) value: Option<T>,
}

/// A key that may be absent, and whether it is: one with a fault of its own is not missing, nor left to a default.
#[derive(Clone, Default)]
pub(super) enum Setting<T> {
    #[default]
    Absent,
    Faulty,
    Given(T),
}

impl<T> Setting<T> {
    pub(super) fn or(self, default: &Self) -> Self
    where
        T: Clone,
    {
        match self {
            Setting::Absent => default.clone(),
            Setting::Faulty | Setting::Given(_) => self,
        }
    }

    pub(super) fn given(&self) -> Option<&T> {
        match self {
            Setting::Given(value) => Some(value),
            Setting::Absent | Setting::Faulty => None,
        }
    }
}

impl<'a> Keys<'a> {
    pub(super) fn read<T: Table>(
        reader: &'a Reader<'a>,
        table: &'a DeTable<'a>,
        path: String,
        at: Range<usize>,
    ) -> Option<T> {
        let mut keys = Keys { reader, path, at, table, known: Vec::new() };
        let read = T::read(&mut keys);
        keys.refuse_others(T::NOT_BUILT);
        read
    }

    pub(super) fn optional<F: Form>(&mut self, key: &'static str) -> Option<F::Output> {
        F::read(&self.value(key)?)
    }

    pub(super) fn or<F: Form>(&mut self, key: &'static str, default: F::Output) -> F::Output {
        self.optional::<F>(key).unwrap_or(default)
    }

    pub(super) fn required<F: Form>(&mut self, key: &'static str) -> Option<F::Output> {
        let value = self.value(key);
        if value.is_none() {
            self.reader.missing(&self.at, &self.path, key, &F::expects());
        }
        F::read(&value?)
    }

    /// A table that has its defaults where it is absent.
    pub(super) fn table<T: Table>(&mut self, key: &'static str) -> Option<T> {
        match self.value(key) {
            Some(value) => <T as Form>::read(&value),
            None => Keys::read(self.reader, &self.reader.empty, join(&self.path, key), self.at.clone()),
        }
    }

    /// For keys that another table may stand in for.
    pub(super) fn setting<F: Form>(&mut self, key: &'static str) -> Setting<F::Output> {
        match self.value(key) {
            None => Setting::Absent,
            Some(value) => F::read(&value).map_or(Setting::Faulty, Setting::Given),
        }
    }

    /// The tables within a table whose keys are names, in the order of the file. Nothing where a fault has been
    /// reported.
    pub(super) fn named<T: Table>(&mut self, key: &'static str) -> Option<Vec<Named<T>>> {
        let Some(value) = self.value(key) else {
            return Some(Vec::new());
        };
        let Some(table) = value.table() else {
            value.fault(&format!("{} is not a table of tables; write [{key}.NAME]", value.as_written()));
            return None;
        };
        let mut named: Vec<Named<T>> =
            table.iter().map(|(name, node)| self.one_named(&value.path, name, node)).collect();
        named.sort_by_key(|named| named.at.start);
        Some(named)
    }

    /// Where a key's table begins; where it is absent, where this one does.
    pub(super) fn header_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.at.clone(), Spanned::span)
    }

    fn one_named<T: Table>(
        &self,
        parent: &str,
        name: &'a Spanned<std::borrow::Cow<'a, str>>,
        node: &'a Spanned<DeValue<'a>>,
    ) -> Named<T> {
        let value = Value { reader: self.reader, path: join(parent, name.get_ref()), node };
        if name.get_ref().is_empty() {
            self.reader.fault(&name.span(), &value.path, format!("{}: the name is empty; give it one", value.path));
        }
        Named { name: name.get_ref().to_string(), value: <T as Form>::read(&value), at: node.span(), path: value.path }
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        Some(Value { reader: self.reader, path: join(&self.path, key), node: self.table.get(key)? })
    }

    fn refuse_others(&self, not_built: &[&str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
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
        let known = self.known.iter().chain(not_built).copied();
        match nearest(unknown, known) {
            Some(nearest) if nearest.is_close() => format!("; did you mean {:?}?", nearest.name),
            Some(nearest) => format!("; the nearest known key is {:?}", nearest.name),
            None => String::new(),
        }
    }
}
