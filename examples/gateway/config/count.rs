//! Counts: of connections, of threads.

use std::num::NonZeroUsize;

use serde_json::{Value as Json, json};

use super::schema::number_or_boolean;
use super::value::{Form, Value};

/// At least one. At most what 32 bits hold: semaphores and counters of every platform do.
pub(super) struct Count;

impl Form for Count {
    type Output = NonZeroUsize;

    fn expects() -> String {
        "a whole number from 1 to 4294967295".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<NonZeroUsize> {
        let count = value.whole_number::<Self>(1..=u64::from(u32::MAX))?;
        usize::try_from(count).ok().and_then(NonZeroUsize::new)
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }))
    }
}

/// Any number, also none.
pub(super) struct AnyCount;

impl Form for AnyCount {
    type Output = u32;

    fn expects() -> String {
        "a whole number from 0 to 4294967295".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<u32> {
        let count = value.whole_number::<Self>(0..=u64::from(u32::MAX))?;
        u32::try_from(count).ok()
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }))
    }
}

/// A number of serving threads; 0 leaves it to the machine.
pub(super) struct Workers;

impl Form for Workers {
    type Output = Option<NonZeroUsize>;

    fn expects() -> String {
        "a whole number from 1 to 1024, or 0 for one per available core".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Option<NonZeroUsize>> {
        let count = value.whole_number::<Self>(0..=1024)?;
        usize::try_from(count).ok().map(NonZeroUsize::new)
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "integer", "minimum": 0, "maximum": 1024 }))
    }
}
