//! Tables of the file, and what is owed by the code that reads one.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value as Json;

use super::value::{Form, Value};

pub(crate) use super::keys::Keys;
pub(super) use super::keys::Role;

/// A table of the contract. Known are the keys that `read` asks for, so a key, its form, its default and what it is for
/// stand in one line of the code; `read` asks for all of them, whatever it finds.
pub(crate) trait Table: Sized {
    /// Keys of the contract that later versions read. Nothing is left in these lists once the contract is built.
    const NOT_BUILT: &'static [&'static str] = &[];

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

    fn schema() -> Json {
        Keys::describe::<T>(Role::Ordinary)
    }
}

/// Tables that the user names, and that others name in turn: `[upstreams.users]`, and `upstream = "users"` in a route.
pub(super) trait Listed: Table {
    /// Where they stand: the `upstreams` of `[upstreams.NAME]`.
    const SECTION: &'static str;
    /// One of them, in a message: "upstream".
    const KIND: &'static str;
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

impl<T> Named<T> {
    pub(super) fn and_then<U>(self, change: impl FnOnce(T) -> Option<U>) -> Named<U> {
        Named { name: self.name, path: self.path, at: self.at, value: self.value.and_then(change) }
    }
}

/// The tables by their names. Nothing where one has a fault.
pub(super) fn by_name<T>(named: Vec<Named<T>>) -> Option<BTreeMap<String, T>> {
    named.into_iter().map(|named| Some((named.name, named.value?))).collect()
}
