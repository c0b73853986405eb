//! Whether a stored response may answer a request as it is (RFC 9111 sections 4 and 4.2, RFC 5861).

use super::directives::{RequestDirectives, ResponseDirectives};

/// What a stored response says of its being reused: settled when it is stored, so that a hit reads no directive again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Terms {
    /// Seconds that it is fresh.
    pub(in crate::cache) lifetime: u64,
    /// Seconds after that, in which it is served while it is revalidated.
    pub(in crate::cache) stale_while_revalidate: u64,
    /// Seconds after its lifetime, in which it is served where the origin fails.
    pub(in crate::cache) stale_if_error: u64,
    /// It must not be served stale at all.
    pub(in crate::cache) never_stale: bool,
    /// It must not be served without being validated, fresh or not.
    pub(in crate::cache) always_validate: bool,
}

impl Terms {
    /// The windows of a response that states none are the layer's.
    pub(in crate::cache) fn new(
        lifetime: u64,
        directives: &ResponseDirectives,
        stale_while_revalidate: u64,
        stale_if_error: u64,
    ) -> Self {
        Self {
            lifetime,
            stale_while_revalidate: directives.stale_while_revalidate.seconds().unwrap_or(stale_while_revalidate),
            stale_if_error: directives.stale_if_error.seconds().unwrap_or(stale_if_error),
            never_stale: directives.forbids_stale(),
            always_validate: directives.no_cache,
        }
    }

    /// Seconds after its lifetime in which it can still be served, for one reason or another.
    pub(in crate::cache) fn stale_window(&self) -> u64 {
        if self.never_stale { 0 } else { self.stale_while_revalidate.max(self.stale_if_error) }
    }

    /// True when it may be served at this age though the origin has failed. One that answers with an error needs a window for
    /// it (RFC 5861 section 4). One that is dead leaves no other way (RFC 9111 section 4.2.4): then it is served for as long as
    /// stale responses are kept, `kept_if_dead` seconds after their lifetime.
    pub(in crate::cache) fn may_stand_in(
        &self,
        age: u64,
        request: &RequestDirectives,
        kept_if_dead: Option<u64>,
    ) -> bool {
        if self.always_validate || request.no_cache {
            return false;
        }
        if age < self.lifetime {
            return true;
        }
        let on_error = self.stale_if_error.max(request.stale_if_error.unwrap_or(0));
        let window = kept_if_dead.map_or(on_error, |kept| kept.max(on_error));
        !self.never_stale && age - self.lifetime < window
    }
}

/// What a stored response of some age is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Reuse {
    /// Fresh enough to be served.
    Fresh,
    /// Stale, and the client takes it so.
    Stale,
    /// Stale, and served while it is revalidated in the background.
    WhileRevalidating,
    /// To be validated before: it is stale, or its terms say so.
    Expired,
    /// To be validated before: the client wants it.
    Unwanted,
}

pub(in crate::cache) fn decide(terms: &Terms, age: u64, request: &RequestDirectives) -> Reuse {
    if request.no_cache {
        return Reuse::Unwanted;
    }
    if terms.always_validate {
        return Reuse::Expired;
    }
    // A limit of zero is how clients ask for a validation, also in the second of the response.
    let too_old = request.max_age.is_some_and(|limit| age > limit || limit == 0);
    let fresh = age < terms.lifetime;
    if fresh {
        let lasts = terms.lifetime - age;
        let enough = request.min_fresh.is_none_or(|wanted| lasts >= wanted);
        return if enough && !too_old { Reuse::Fresh } else { Reuse::Unwanted };
    }
    if terms.never_stale {
        return Reuse::Expired;
    }
    if too_old || request.min_fresh.is_some() {
        return Reuse::Unwanted;
    }
    let beyond = age - terms.lifetime;
    if request.max_stale.is_some_and(|limit| beyond <= limit) {
        return Reuse::Stale;
    }
    if beyond < terms.stale_while_revalidate {
        return Reuse::WhileRevalidating;
    }
    Reuse::Expired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;
    use proptest::prelude::*;

    fn terms(response: &str) -> Terms {
        let headers = headers(&[("cache-control", response)]);
        let directives = ResponseDirectives::of(&headers);
        let lifetime = [directives.s_maxage.seconds(), directives.max_age.seconds()].into_iter().flatten().next();
        Terms::new(lifetime.unwrap_or(0), &directives, 0, 0)
    }

    fn request(value: &str) -> RequestDirectives {
        RequestDirectives::of(&headers(&[("cache-control", value)]))
    }

    fn at(response: &str, age: u64, asked: &str) -> Reuse {
        decide(&terms(response), age, &request(asked))
    }

    #[test]
    fn fresh_is_younger_than_the_lifetime() {
        assert_eq!(at("max-age=10", 9, ""), Reuse::Fresh);
        assert_eq!(at("max-age=10", 10, ""), Reuse::Expired);
        assert_eq!(at("max-age=0", 0, ""), Reuse::Expired);
    }

    #[test]
    fn no_cache_of_either_side_is_validated_first() {
        assert_eq!(at("max-age=10, no-cache", 0, ""), Reuse::Expired);
        assert_eq!(at("max-age=10, no-cache", 0, "max-stale"), Reuse::Expired);
        assert_eq!(at("max-age=10", 0, "no-cache"), Reuse::Unwanted);
    }

    #[test]
    fn clients_say_how_old_how_fresh_and_how_stale() {
        assert_eq!(at("max-age=10", 5, "max-age=5"), Reuse::Fresh);
        assert_eq!(at("max-age=10", 6, "max-age=5"), Reuse::Unwanted);
        assert_eq!(at("max-age=10", 0, "max-age=0"), Reuse::Unwanted);
        assert_eq!(at("max-age=10", 5, "min-fresh=5"), Reuse::Fresh);
        assert_eq!(at("max-age=10", 6, "min-fresh=5"), Reuse::Unwanted);
        assert_eq!(at("max-age=10", 15, "max-stale=5"), Reuse::Stale);
        assert_eq!(at("max-age=10", 16, "max-stale=5"), Reuse::Expired);
        assert_eq!(at("max-age=10", 9999, "max-stale"), Reuse::Stale);
        assert_eq!(at("max-age=10", 9999, "max-stale, max-age=5"), Reuse::Unwanted);
    }

    #[test]
    fn what_must_be_revalidated_is_never_served_stale() {
        for response in
            ["max-age=1, must-revalidate", "max-age=1, proxy-revalidate", "s-maxage=1", "max-age=1, no-cache"]
        {
            let response = format!("{response}, stale-while-revalidate=99, stale-if-error=99");
            assert_eq!(at(&response, 5, "max-stale"), Reuse::Expired, "{response}");
            assert!(!terms(&response).may_stand_in(5, &request("stale-if-error=99"), Some(9999)), "{response}");
            assert_eq!(terms(&response).stale_window(), 0);
        }
    }

    #[test]
    fn stale_is_served_while_it_is_revalidated_within_its_window() {
        assert_eq!(at("max-age=1, stale-while-revalidate=10", 10, ""), Reuse::WhileRevalidating);
        assert_eq!(at("max-age=1, stale-while-revalidate=10", 11, ""), Reuse::Expired);
        assert_eq!(at("max-age=1, stale-while-revalidate=10", 5, "max-age=2"), Reuse::Unwanted);
    }

    #[test]
    fn an_origin_that_fails_is_stood_in_for_within_the_window_and_a_dead_one_for_as_long_as_it_is_kept() {
        let stored = terms("max-age=1, stale-if-error=10");
        assert!(stored.may_stand_in(10, &request(""), None));
        assert!(!stored.may_stand_in(11, &request(""), None));
        assert!(stored.may_stand_in(11, &request("stale-if-error=20"), None));
        assert!(stored.may_stand_in(9999, &request(""), Some(9999)));
        assert!(!stored.may_stand_in(9999, &request(""), Some(60)));
        assert!(!stored.may_stand_in(5, &request("no-cache"), Some(9999)));
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_never_stale_holds(
            lifetime: u64, swr: u64, sie: u64, never_stale: bool, age: u64,
            max_age: Option<u64>, min_fresh: Option<u64>, max_stale: Option<u64>,
        ) {
            let terms = Terms { lifetime, stale_while_revalidate: swr, stale_if_error: sie, never_stale, always_validate: false };
            let request = RequestDirectives { max_age, min_fresh, max_stale, ..RequestDirectives::default() };
            let reuse = decide(&terms, age, &request);
            if never_stale && age >= lifetime {
                prop_assert_eq!(reuse, Reuse::Expired);
                prop_assert!(!terms.may_stand_in(age, &request, Some(u64::MAX)));
            }
            prop_assert_eq!(reuse == Reuse::Fresh && age >= lifetime, false);
        }
    }
}
