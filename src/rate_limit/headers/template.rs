//! Answers that have been told before, to be copied.
//!
//! Most of what it costs to add fields to a map is to hash their names, a byte at a time, and to make room. An answer that has
//! the same fields as one before takes a copy of the whole map instead, in which all of them stand where they belong, and only
//! the values that change are put in.

use std::cell::RefCell;
use std::{mem, ptr};

use http::{HeaderMap, HeaderValue};

use super::said::Said;
use super::terms::{Terms, Told};
use super::{RateLimitHeaders, Report, numbers};

/// How many a thread keeps, how many fields of others each may have, and how long their names may be.
const KEPT: usize = 8;
const MOST_OTHERS: usize = 8;
const LONGEST_NAME: usize = 64;

/// Of answers that are like none of them, one in so many is kept: where no two are alike, copies would be made for nothing.
const ONE_IN: usize = 16;

const NOTHING: HeaderValue = HeaderValue::from_static("");

thread_local! {
    static TEMPLATES: RefCell<Templates> =
        const { RefCell::new(Templates { kept: Vec::new(), missed: 0, said: Said::new() }) };
}

struct Templates {
    kept: Vec<Template>,
    missed: usize,
    said: Said,
}

/// The fields of an answer: first those of others, with nothing in them, then ours with what does not change.
struct Template {
    told: &'static Told,
    headers: RateLimitHeaders,
    others: usize,
    /// The date that is in it.
    resets_at: u64,
    map: HeaderMap,
}

/// Writes the fields of `report` to an answer like one before. False when it is not, or has room for them by itself.
pub(super) fn write(report: &Report, map: &mut HeaderMap) -> bool {
    let (Terms::Kept(told), None) = (&report.terms, &report.all) else { return false };
    if !map.is_empty() {
        let is_roomy = map.capacity() - map.len() >= report.to.headers.count();
        if is_roomy || map.len() > MOST_OTHERS || map.len() != map.keys_len() {
            return false;
        }
    }
    let written = TEMPLATES.try_with(|templates| {
        let mut templates = templates.try_borrow_mut().ok()?;
        let Templates { kept, said, .. } = &mut *templates;
        let template = kept.iter_mut().find(|template| template.is_of(report, told, map))?;
        template.write(report, map, said);
        Some(())
    });
    // A thread that ends remembers nothing.
    matches!(written, Ok(Some(())))
}

/// Keeps an answer to which the fields have just been added, where it had so many of others before.
pub(super) fn learn(report: &Report, map: &HeaderMap, others: usize) {
    let (Terms::Kept(told), None) = (&report.terms, &report.all) else { return };
    // None of ours has replaced another, and each name is there once.
    let is_plain = map.len() == others + report.to.headers.count() && map.len() == map.keys_len();
    if others > MOST_OTHERS || !is_plain {
        return;
    }
    let _ = TEMPLATES.try_with(|templates| {
        let Ok(mut templates) = templates.try_borrow_mut() else { return };
        templates.missed += 1;
        let turn = templates.missed / ONE_IN;
        if templates.missed % ONE_IN == 1 && map.keys().all(|name| name.as_str().len() <= LONGEST_NAME) {
            let template = Template::new(report, told, map, others);
            match templates.kept.get_mut(turn % KEPT) {
                Some(place) => *place = template,
                None => templates.kept.push(template),
            }
        }
    });
}

impl Template {
    fn new(report: &Report, told: &'static Told, map: &HeaderMap, others: usize) -> Self {
        let (headers, mut map) = (report.to.headers, map.clone());
        // What others have told is told to one client.
        map.values_mut().take(others).for_each(|value| *value = NOTHING);
        put(map.values_mut().skip(others), headers, NOTHING, NOTHING, NOTHING);
        Self { told, headers, others, resets_at: report.resets_at, map }
    }

    fn is_of(&self, report: &Report, told: &'static Told, map: &HeaderMap) -> bool {
        ptr::eq(self.told, told)
            && self.headers == report.to.headers
            && self.others == map.len()
            && map.keys().zip(self.map.keys()).all(|(one, other)| one == other)
    }

    /// Makes `map` a copy of it, with the values that it had and with what `report` says.
    fn write(&mut self, report: &Report, map: &mut HeaderMap, said: &mut Said) {
        if self.headers.legacy && self.resets_at != report.resets_at {
            let place = self.others + 2 * usize::from(self.headers.ietf) + 2;
            self.map.values_mut().skip(place).take(1).for_each(|value| *value = numbers::date(report.resets_at));
            self.resets_at = report.resets_at;
        }
        // What has just been written in parts is not to be read at once in order to be moved, so each is made before another one
        // is moved.
        let Self { headers, told, .. } = *self;
        let state = if headers.ietf { said.state(told, report.remaining, report.resets_in.into()) } else { NOTHING };
        let copy = self.map.clone();
        let remaining = numbers::value(report.remaining);
        let reset = if headers.older_draft { numbers::value(report.resets_in.into()) } else { NOTHING };
        let mut others = mem::replace(map, copy);
        let mut places = map.values_mut();
        if self.others > 0 {
            for ((_, value), place) in others.drain().zip(&mut places) {
                *place = value;
            }
        }
        put(places, headers, state, remaining, reset);
        if others.capacity() == 0 {
            // There is nothing to be freed, which to find out takes as long as one of the fields.
            mem::forget(others);
        }
    }
}

/// Writes what changes to the places of our fields.
#[inline(always)]
fn put<'a>(
    mut places: impl Iterator<Item = &'a mut HeaderValue>,
    headers: RateLimitHeaders,
    state: HeaderValue,
    remaining: HeaderValue,
    reset: HeaderValue,
) {
    let mut put = |fixed: usize, value| {
        if let Some(place) = places.nth(fixed) {
            *place = value;
        }
    };
    if headers.ietf {
        put(1, state);
    }
    if headers.older_draft {
        if headers.legacy {
            put(1, remaining.clone());
        }
        // Behind the date, where there is one.
        put(1 + usize::from(headers.legacy), remaining);
        put(0, reset);
    } else if headers.legacy {
        put(1, remaining);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::Clock;
    use crate::rate_limit::headers::Audience;
    use crate::rate_limit::{Decision, Quota};

    /// By a thread that remembers nothing yet.
    fn on_a_new_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    fn report(headers: RateLimitHeaders, remaining: u64, reset: u64) -> Report {
        let terms = Terms::new("template", Quota::per_hour(25_000));
        let decision = Decision::admit(remaining, Duration::from_secs(reset));
        Report::new(Audience { headers, is_heard: false }, terms, &decision, &Clock::manual().0)
    }

    /// An answer with so many fields, made anew as the answers of a service are.
    fn answer(fields: usize) -> HeaderMap {
        let name = |n: usize| HeaderName::try_from(format!("x-{n}")).unwrap();
        (0..fields).map(|n| (name(n), format!("value {n}").parse().unwrap())).collect()
    }

    fn lines(map: &HeaderMap) -> Vec<(String, String)> {
        map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn an_answer_like_one_before_is_told_what_one_without_is() {
        on_a_new_thread(|| {
            let all = RateLimitHeaders::default().older_draft(true);
            for headers in [all.legacy(false), all.ietf(false), RateLimitHeaders::default(), all] {
                for others in [0, 2, MOST_OTHERS] {
                    for n in 0..40_u64 {
                        let report = report(headers, n * 997, n % 3 * 5_000);
                        // Behind another layer nothing is copied, and to a looser one each field is told.
                        let (mut copied, mut written) = (answer(others), answer(others));
                        report.write(&mut copied, None);
                        report.write(&mut written, Some(u64::MAX));
                        assert_eq!(lines(&copied), lines(&written));
                    }
                    let is_roomy = others > 0 && answer(others).capacity() >= others + headers.count();
                    assert_eq!(write(&report(headers, 0, 0), &mut answer(others)), !is_roomy, "{others}");
                }
            }
        });
    }

    #[test]
    fn an_answer_with_other_fields_or_other_terms_is_another() {
        on_a_new_thread(|| {
            let both = RateLimitHeaders::default();
            report(both, 1, 1).write(&mut answer(2), None);
            assert!(write(&report(both, 1, 1), &mut answer(2)));
            assert!(!write(&report(both, 1, 1), &mut answer(1)) && !write(&report(both, 1, 1), &mut HeaderMap::new()));
            let mut twice = answer(1);
            twice.append("x-0", HeaderValue::from_static("again"));
            assert!(!write(&report(both, 1, 1), &mut twice));
            let fields: Vec<_> = answer(2).iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let mut backwards: HeaderMap = fields.into_iter().rev().collect();
            assert!(!write(&report(both, 1, 1), &mut backwards) && backwards.len() == 2);
            assert!(!write(&report(both.ietf(false), 1, 1), &mut answer(2)));
            let mut other = report(both, 1, 1);
            other.terms = Terms::new("template", Quota::per_hour(24_999));
            assert!(!write(&other, &mut answer(2)));
        });
    }

    #[test]
    fn what_others_told_is_not_kept_and_no_more_than_so_many_answers() {
        on_a_new_thread(|| {
            for n in 0..10_000 {
                let mut map = answer(1);
                map.insert(HeaderName::try_from(format!("y-{n}")).unwrap(), HeaderValue::from_static("secret"));
                report(RateLimitHeaders::default(), 7, 7).write(&mut map, None);
            }
            let mut long: HeaderMap =
                [("z".repeat(LONGEST_NAME + 1).parse::<HeaderName>().unwrap(), NOTHING)].into_iter().collect();
            for _ in 0..ONE_IN {
                report(RateLimitHeaders::default(), 7, 7).write(&mut long.clone(), None);
            }
            assert!(!write(&report(RateLimitHeaders::default(), 7, 7), &mut long));
            TEMPLATES.with_borrow(|templates| {
                assert_eq!(templates.kept.len(), KEPT);
                for template in &templates.kept {
                    let values: Vec<_> = template.map.values().map(HeaderValue::as_bytes).collect();
                    let Terms::Kept(told) = report(RateLimitHeaders::default(), 7, 7).terms else { panic!() };
                    let date = template.resets_at.to_string();
                    let ours = [told.policy().as_bytes(), b"", told.limit().as_bytes(), b"", date.as_bytes()];
                    assert_eq!(values, [&[b"".as_slice(); 2], &ours[..]].concat());
                }
            });
        });
    }
}
