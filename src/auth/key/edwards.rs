//! Which Ed25519 keys are sound.

/// The ordinates of the points of small order, little-endian: with one of these as the key, a signature can be made that is
/// good for any message ("Taming the many EdDSAs", Chalkias et al., 2020). 0 and 1, p - 1, and the two of order eight.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    with_first(1, 0, 0),
    with_first(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn with_first(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// True for 32 bytes that are the one encoding of an ordinate (RFC 8032 section 5.1.3) which is of no small order. Whether it
/// is on the curve is checked with each signature.
pub(super) fn is_sound(key: &[u8]) -> bool {
    let Ok(mut ordinate) = <[u8; 32]>::try_from(key) else { return false };
    // The sign of the abscissa.
    ordinate[31] &= 0x7f;
    is_below_prime(&ordinate) && !SMALL_ORDER.contains(&ordinate)
}

/// Below 2^255 - 19.
fn is_below_prime(ordinate: &[u8; 32]) -> bool {
    let prime = with_first(0xed, 0xff, 0x7f);
    ordinate.iter().rev().lt(prime.iter().rev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_and_second_encodings_are_no_keys() {
        for mut bad in SMALL_ORDER {
            assert!(!is_sound(&bad));
            bad[31] |= 0x80;
            assert!(!is_sound(&bad));
        }
        for first in 0xed..=0xff {
            assert!(!is_sound(&with_first(first, 0xff, 0x7f)), "{first:x}");
        }
        assert!(!is_sound(&[9; 31]) && !is_sound(&[9; 33]) && !is_sound(&[]));
        assert!(is_sound(&[9; 32]) && is_sound(&with_first(0xeb, 0xff, 0x7f)));
    }
}
