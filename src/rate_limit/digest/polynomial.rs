//! A keyed hash by which nobody who does not know the key can make two texts meet.
//!
//! A text is cut into blocks, the blocks are the coefficients of a polynomial over the integers modulo the prime 2^127 - 1, and
//! its hash is the value of the polynomial at a secret random point (Carter and Wegman, "New hash functions and their use in
//! authentication and set equality", 1981; Poly1305 is the best known of the kind). Two texts of at most `n` blocks meet at `n`
//! of the 2^127 points at most, whatever they are and however they were chosen, as long as they were chosen without knowledge of
//! the point. That is all that counting by keys asks for, and it costs one multiplication for 15 bytes. It hides nothing: whoever
//! sees hashes can compute the point. Nobody does.

/// The prime, which is also the mask of the bits below it.
const P: u128 = (1 << 127) - 1;

/// Above all that a block holds, so that none is zero and none is the other with zeros behind.
const PAD: u128 = 1 << 120;

/// A hash that texts are written to.
#[derive(Clone, Copy)]
pub(super) struct Polynomial {
    point: u128,
    value: u128,
    /// Odd. Spreads the value over all bits in the end.
    spread: u128,
}

impl Polynomial {
    /// By two secret random numbers.
    pub(super) fn new(point: u128, spread: u128) -> Self {
        Self { point: fold(point), value: 0, spread: spread | 1 }
    }

    /// A text of a kind. The kind and the length are in the first block, so that no two lists of texts have the same blocks.
    pub(super) fn write(&mut self, kind: u8, text: &[u8]) {
        let head = u128::from(kind) | u128::from(text.len() as u32) << 8;
        let (first, rest) = text.split_at(text.len().min(10));
        self.block(head | number(first) << 40);
        for block in rest.chunks(15) {
            self.block(number(block));
        }
    }

    pub(super) fn finish(self) -> u128 {
        let value = (self.value ^ self.value >> 64).wrapping_mul(self.spread);
        value ^ value >> 64
    }

    fn block(&mut self, block: u128) {
        self.value = multiply(fold(self.value + (block | PAD)), self.point);
    }
}

/// Up to 15 bytes as a number, the first one the least, without a copy of a length that is not known.
fn number(bytes: &[u8]) -> u128 {
    match bytes.split_first_chunk::<8>() {
        Some((low, high)) => u128::from(u64::from_le_bytes(*low)) | u128::from(below_eight(high)) << 64,
        None => below_eight(bytes).into(),
    }
}

fn below_eight(bytes: &[u8]) -> u64 {
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // They may overlap, where they say the same.
        return u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << (8 * (bytes.len() - 4));
    }
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same modulo the prime, in 127 bits but for the last carry.
fn fold(number: u128) -> u128 {
    (number & P) + (number >> 127)
}

/// The product modulo the prime, of two numbers that are folded, folded again: 2^127 is 1, so what is above it is added below.
fn multiply(a: u128, b: u128) -> u128 {
    let halves = |number: u128| (u128::from(number as u64), number >> 64);
    let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
    let (low, middle, high) = (a0 * b0, a0 * b1 + a1 * b0, a1 * b1);
    // low + middle * 2^64 + high * 2^128, where middle is split at bit 63.
    let upper = fold((high << 1) + ((middle & ((1 << 63) - 1)) << 64));
    let upper = fold(upper + (middle >> 63) + (low >> 127));
    fold(upper + (low & P))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By doubling and adding, bit by bit.
    fn slow_product(a: u128, b: u128) -> u128 {
        let reduce = |number: u128| if number >= P { number - P } else { number };
        let b = reduce(b);
        (0..127).rev().fold(0, |sum, bit| {
            let sum = reduce(sum << 1);
            if a >> bit & 1 == 1 { reduce(sum + b) } else { sum }
        })
    }

    fn hash(parts: &[(u8, &[u8])]) -> u128 {
        let mut hash = Polynomial::new(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, 0xdead_beef_0bad_cafe);
        parts.iter().for_each(|(kind, text)| hash.write(*kind, text));
        hash.finish()
    }

    proptest! {
        #[test]
        fn products_are_those_of_school_arithmetic(a in any::<u128>(), b in any::<u128>()) {
            let (a, b) = (fold(a), fold(b));
            prop_assert!(a <= P && b <= P);
            prop_assert_eq!(multiply(a, b) % P, slow_product(a % P, b));
        }

        #[test]
        fn a_number_has_the_bytes_of_its_text(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let expected = bytes.iter().rev().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
            prop_assert_eq!(number(&bytes), expected);
        }

        #[test]
        fn texts_that_differ_do_not_meet(
            one in proptest::collection::vec(any::<u8>(), 0..60), at in any::<proptest::sample::Index>(), flip in 1..=255_u8,
        ) {
            let mut other = one.clone();
            match other.len() {
                0 => other.push(flip),
                length => other[at.index(length)] ^= flip,
            }
            prop_assert_ne!(hash(&[(1, &one)]), hash(&[(1, &other)]));
            prop_assert_ne!(hash(&[(1, &one)]), hash(&[(2, &one)]));
            other.clone_from(&one);
            other.push(0);
            prop_assert_ne!(hash(&[(1, &one)]), hash(&[(1, &other)]));
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        for (a, b) in [(P, P), (P, P - 1), (P - 1, P - 1), (1 << 126, 1 << 126), (P, 1), (0, P)] {
            assert_eq!(multiply(a, b) % P, slow_product(a % P, b), "{a:x} {b:x}");
        }
        let mut hash = Polynomial::new(u128::MAX, u128::MAX);
        for _ in 0..1000 {
            hash.write(255, &[255; 60]);
        }
        assert!(hash.value <= P);
    }

    #[test]
    fn numbers_in_a_row_are_spread_over_both_ends() {
        for shift in [0, 112] {
            let mut buckets = [0; 64];
            for n in 0..64_000_u64 {
                buckets[(hash(&[(1, &n.to_le_bytes())]) >> shift) as usize % 64] += 1;
            }
            assert!(buckets.iter().all(|count| (700..1300).contains(count)), "{shift}: {buckets:?}");
        }
    }
}
