//! Which RSA keys are sound.

use super::KeyError;
use super::provider::MAX_RSA_BITS;

/// Without the zeros in front, which some issuers write although they must not (RFC 7518 section 6.3.1.1).
pub(super) fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Both numbers are trimmed.
pub(super) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyError> {
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    // NIST SP 800-131A: shorter moduli are not to be used.
    if !(2048..=MAX_RSA_BITS).contains(&bits) {
        return Err(KeyError::RsaSize { bits, most: MAX_RSA_BITS });
    }
    // FIPS 186-5 section A.1.1: odd, and above 2^16. RFC 7518 has no such rule, and libraries take 3: but that is where padding
    // that is not checked to the last byte lets signatures be made up (Bleichenbacher, CRYPTO 2006). The upper bound is the providers', for whom more would be slow.
    let exponent_is_sound = match number(exponent) {
        Some(exponent) => exponent % 2 == 1 && (65_537..1 << 33).contains(&exponent),
        None => false,
    };
    let is_odd = modulus.last().is_some_and(|last| last % 2 == 1);
    if !exponent_is_sound || !is_odd {
        return Err(KeyError::RsaNumbers);
    }
    if has_roca_fingerprint(modulus) { Err(KeyError::RsaRoca) } else { Ok(()) }
}

fn number(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// True for moduli that Infineon's RSALib made: both primes are `k * M + 65537^a mod M`, with M the product of the first
/// primes, so the modulus is a power of 65537 by each of these. Another modulus is with a chance of 2^-27 (Nemec et al., "The
/// Return of Coppersmith's Attack", CCS 2017, section 2).
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    /// Those of the first primes by which 65537 does not reach every remainder, and so says something.
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.into_iter().all(|prime| {
        let remainder = modulus.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65_537 % prime) % prime));
        powers.take(prime as usize).any(|power| power == remainder)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: &[u8] = &[1, 0, 1];

    fn modulus(bits: usize) -> Vec<u8> {
        // Odd, and a multiple of 11, which no power is.
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        let rest = bytes.iter().fold(0_u32, |rest, byte| (rest << 8 | u32::from(*byte)) % 11);
        let last = bytes.len() - 1;
        bytes[last] -= rest as u8;
        if bytes[last].is_multiple_of(2) {
            bytes[last] -= 11;
        }
        bytes
    }

    #[test]
    fn a_modulus_has_2048_bits_or_more_whatever_its_bytes() {
        assert_eq!(check(&modulus(2048), E), Ok(()));
        assert_eq!(check(&modulus(2047), E), Err(KeyError::RsaSize { bits: 2047, most: MAX_RSA_BITS }));
        assert_eq!(check(&modulus(1024), E), Err(KeyError::RsaSize { bits: 1024, most: MAX_RSA_BITS }));
        assert!(check(&modulus(MAX_RSA_BITS), E).is_ok() && check(&modulus(MAX_RSA_BITS + 1), E).is_err());
        assert!(check(&[], E).is_err());
    }

    #[test]
    fn an_exponent_is_odd_and_neither_small_nor_slow() {
        for bad in [&[][..], &[1], &[2], &[3], &[17], &[1, 0, 0], &[0xff, 0xff], &[2, 0, 0, 0, 1], &[1; 9]] {
            assert_eq!(check(&modulus(2048), bad), Err(KeyError::RsaNumbers), "{bad:?}");
        }
        assert_eq!(check(&modulus(2048), &[1, 0, 3]), Ok(()));
        let mut even = modulus(2048);
        *even.last_mut().unwrap() &= 0xfe;
        assert_eq!(check(&even, E), Err(KeyError::RsaNumbers));
    }

    #[test]
    fn a_modulus_that_is_a_power_by_every_prime_is_roca() {
        // Such as 65537 itself, at 2048 bits: 65537 + k * (11 * 13 * .. * 157) for a k that makes it long enough.
        let primes: [u64; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
        let mut bytes = vec![0_u8; 256];
        bytes[0] = 0x80;
        // Twice, so that it stays odd.
        for prime in primes.into_iter().chain([2]) {
            multiply(&mut bytes, prime);
        }
        let mut roca = bytes[bytes.len() - 256..].to_vec();
        assert!(!has_roca_fingerprint(&modulus(2048)));
        // The product, brought to 2048 bits by doubling, plus 65537.
        let mut product = vec![0_u8; 256];
        product[255] = 1;
        for prime in primes {
            multiply(&mut product, prime);
        }
        while product[0] < 0x80 {
            multiply(&mut product, 2);
        }
        roca.copy_from_slice(&product);
        let mut carry = 65_537_u32;
        for byte in roca.iter_mut().rev() {
            carry += u32::from(*byte);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!(check(&roca, E), Err(KeyError::RsaRoca));
    }

    fn multiply(number: &mut [u8], by: u64) {
        let mut carry = 0;
        for byte in number.iter_mut().rev() {
            carry += u64::from(*byte) * by;
            *byte = carry as u8;
            carry >>= 8;
        }
    }

    #[test]
    fn zeros_in_front_are_no_part_of_a_number() {
        assert_eq!(trim(&[0, 0, 1, 0]), [1, 0]);
        assert_eq!(trim(&[0]), [0; 0]);
    }
}
