//! A set of addresses, by CIDR.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A set of IP addresses, given as CIDR ranges (RFC 4632 section 3.1, RFC 4291 section 2.3).
///
/// Ranges that overlap or touch are merged once, when the set is made; a lookup is one binary search, so that a block list
/// of ten thousand ranges costs some tens of nanoseconds.
///
/// IPv4-mapped IPv6 is IPv4 on both sides: `::ffff:10.0.0.0/104` is `10.0.0.0/8`, and `::ffff:10.0.0.1` is in it. Any wider
/// IPv6 range holds IPv6 addresses only: `::/0` is all of IPv6 and nothing of IPv4.
///
/// ```
/// use tower_gateway::client_ip::CidrSet;
///
/// let office = CidrSet::parse(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])?;
/// assert!(office.contains("192.0.2.200".parse()?));
/// assert!(office.contains("::ffff:192.0.2.200".parse()?));
/// assert!(!office.contains("198.51.100.8".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CidrSet {
    /// First and last address of each range: sorted, disjoint, not touching.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

/// A text that is no CIDR range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address range: write `10.0.0.0/8`, `2001:db8::/32` or a single address")]
pub struct CidrError(String);

impl CidrSet {
    /// The set of these ranges; an address without a prefix length stands for itself. Bits to the right of the prefix do
    /// not count: `10.1.2.3/8` is `10.0.0.0/8`.
    ///
    /// # Errors
    ///
    /// The first text that is neither a range nor an address.
    pub fn parse<T: AsRef<str>>(ranges: impl IntoIterator<Item = T>) -> Result<Self, CidrError> {
        ranges.into_iter().map(|range| parse_range(range.as_ref())).collect()
    }

    /// True when `address` is in one of the ranges.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => covers(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => covers(&self.v6, v6.to_bits()),
        }
    }

    /// True when no address is in the set.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<IpNet> for CidrSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(ranges: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match (range.network().to_canonical(), range.broadcast().to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                // Only a range within the IPv4-mapped block has both ends in it: any other stays IPv6 from end to end.
                _ => v6.push((to_v6_bits(range.network()), to_v6_bits(range.broadcast()))),
            }
        }
        Self { v4: merged(v4, |last| last.checked_add(1)), v6: merged(v6, |last| last.checked_add(1)) }
    }
}

impl From<Vec<IpNet>> for CidrSet {
    fn from(ranges: Vec<IpNet>) -> Self {
        ranges.into_iter().collect()
    }
}

impl<const N: usize> From<[IpNet; N]> for CidrSet {
    fn from(ranges: [IpNet; N]) -> Self {
        ranges.into_iter().collect()
    }
}

impl fmt::Debug for CidrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 =
            self.v4.iter().map(|&(first, last)| (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into()));
        let v6 =
            self.v6.iter().map(|&(first, last)| (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into()));
        f.debug_list().entries(v4.chain(v6).map(|(first, last): (IpAddr, IpAddr)| first..=last)).finish()
    }
}

fn parse_range(text: &str) -> Result<IpNet, CidrError> {
    let range = text.parse::<IpNet>().ok();
    range.or_else(|| text.parse().ok().map(IpAddr::into)).ok_or_else(|| CidrError(text.to_owned()))
}

fn to_v6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The same addresses in as few ranges as hold them, sorted.
fn merged<N: Copy + Ord>(mut ranges: Vec<(N, N)>, next: impl Fn(N) -> Option<N>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|right, left| {
        let joined = next(left.1).is_none_or(|after_left| right.0 <= after_left);
        if joined {
            left.1 = left.1.max(right.1);
        }
        joined
    });
    ranges.into_boxed_slice()
}

fn covers<N: Copy + Ord>(ranges: &[(N, N)], address: N) -> bool {
    let begin_at_or_before = ranges.partition_point(|(first, _)| *first <= address);
    ranges[..begin_at_or_before].last().is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn set(ranges: &[&str]) -> CidrSet {
        CidrSet::parse(ranges).unwrap()
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let ranges =
            set(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "10.0.3.0/24", "255.255.255.255", "255.0.0.0/8"]);
        assert_eq!(
            format!("{ranges:?}"),
            "[10.0.0.0..=10.0.1.255, 10.0.3.0..=10.0.3.255, 255.0.0.0..=255.255.255.255]"
        );
    }

    #[test]
    fn both_ends_of_a_range_are_in_it_and_their_neighbours_are_not() {
        let ranges = set(&["192.0.2.0/24", "2001:db8::/32"]);
        for inside in ["192.0.2.0", "192.0.2.255", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"] {
            assert!(ranges.contains(ip(inside)), "{inside}");
        }
        for outside in ["192.0.1.255", "192.0.3.0", "2001:db7:ffff::", "2001:db9::", "::", "0.0.0.0"] {
            assert!(!ranges.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn ipv4_mapped_ranges_and_addresses_are_ipv4() {
        assert_eq!(set(&["::ffff:10.0.0.0/104"]), set(&["10.0.0.0/8"]));
        assert_eq!(set(&["::ffff:192.0.2.1"]), set(&["192.0.2.1/32"]));
        assert_eq!(set(&["::ffff:0:0/96"]), set(&["0.0.0.0/0"]));
        assert!(set(&["10.0.0.0/8"]).contains(ip("::ffff:10.1.2.3")));
    }

    #[test]
    fn all_of_ipv6_is_nothing_of_ipv4() {
        assert!(set(&["::/0"]).contains(ip("2001:db8::1")));
        assert!(!set(&["::/0"]).contains(ip("192.0.2.1")));
        assert!(!set(&["::fffe:0:0/95"]).contains(ip("192.0.2.1")));
        assert!(!set(&["0.0.0.0/0"]).contains(ip("2001:db8::1")));
    }

    #[test]
    fn bits_to_the_right_of_the_prefix_do_not_count() {
        assert_eq!(set(&["10.1.2.3/8"]), set(&["10.0.0.0/8"]));
    }

    #[test]
    fn an_empty_set_holds_nothing() {
        assert!(CidrSet::default().is_empty());
        assert!(!CidrSet::default().contains(ip("192.0.2.1")));
        assert!(!CidrSet::default().contains(ip("::1")));
    }

    #[test]
    fn a_text_that_is_no_range_is_named_with_its_remedy() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "example.com", "10.0.0.0/8 "] {
            let message = CidrSet::parse(["10.0.0.0/8", wrong]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{wrong}` is no address range: write")), "{message}");
        }
    }

    fn any_range() -> impl Strategy<Value = IpNet> {
        // Few distinct bits, so that ranges overlap and touch often.
        let v4 =
            (any::<u8>(), 24..=32u8).prop_map(|(low, prefix)| IpNet::new([192, 0, 2, low].into(), prefix).unwrap());
        let v6 = (any::<u8>(), 120..=128u8)
            .prop_map(|(low, prefix)| IpNet::new(Ipv6Addr::from_bits(low.into()).into(), prefix).unwrap());
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_set_holds_exactly_what_its_ranges_hold(ranges in proptest::collection::vec(any_range(), 0..20)) {
            let set: CidrSet = ranges.iter().copied().collect();
            for low in 0..=255u8 {
                for address in [IpAddr::from([192, 0, 2, low]), Ipv6Addr::from_bits(low.into()).into()] {
                    prop_assert_eq!(set.contains(address), ranges.iter().any(|range| range.contains(&address)));
                }
            }
            let disjoint = |pairs: &[(u128, u128)]| pairs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            prop_assert!(disjoint(&set.v6));
        }
    }
}
