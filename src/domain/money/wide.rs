//! Products that need 256 bits before they are divided.

use super::Rounding;

/// `a x b / d` and its rest, exactly; `None` when `d` is 0 or the quotient needs more than 128 bits.
pub(super) fn mul_div_rem(a: u128, b: u128, d: u128) -> Option<(u128, u128)> {
    if let Some(product) = a.checked_mul(b) {
        return Some((product.checked_div(d)?, product.checked_rem(d)?));
    }
    let (low, high) = a.carrying_mul(b, 0);
    if high >= d {
        return None;
    }
    // Long division, bit by bit: the high half is less than the divisor, and so is every rest.
    let (mut quotient, mut rest) = (0_u128, high);
    for bit in (0..u128::BITS).rev() {
        let carry = rest >> 127 == 1;
        rest = (rest << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry || rest >= d {
            rest = rest.wrapping_sub(d);
            quotient |= 1;
        }
    }
    Some((quotient, rest))
}

/// `a x b / d` as a whole number; `None` when `d` is not positive or the result does not fit.
pub(crate) fn mul_div(a: i128, b: i128, d: i128, rounding: Rounding) -> Option<i128> {
    if d <= 0 {
        return None;
    }
    let negative = (a < 0) != (b < 0);
    let divisor = d.unsigned_abs();
    let (quotient, rest) = mul_div_rem(a.unsigned_abs(), b.unsigned_abs(), divisor)?;
    let mut result = i128::try_from(quotient).ok()?;
    if negative {
        result = -result;
    }
    if rest == 0 {
        return Some(result);
    }
    let (floor, above) = if negative {
        (result.checked_sub(1)?, divisor - rest)
    } else {
        (result, rest)
    };
    let up = rounding.goes_up(!negative, floor & 1 == 0, above, divisor - above);
    floor.checked_add(i128::from(up))
}

/// The product; `None` where it does not fit.
///
/// Numbers of one word each are the usual case, and their product always fits.
#[inline]
pub(crate) fn times(a: i128, b: i128) -> Option<i128> {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => Some(i128::from(a) * i128::from(b)),
        _ => a.checked_mul(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn products_of_256_bits_are_exact() {
        assert_eq!(
            mul_div_rem(u128::MAX, u128::MAX, u128::MAX),
            Some((u128::MAX, 0))
        );
        assert_eq!(
            mul_div_rem(u128::MAX, u128::MAX - 1, u128::MAX - 2),
            None,
            "the quotient is one too large"
        );
        assert_eq!(mul_div_rem(1, 1, 0), None);
        let nines = 10_u128.pow(38) - 1;
        assert_eq!(
            mul_div_rem(nines, nines, 10_u128.pow(38)),
            Some((nines - 1, 1))
        );
        assert_eq!(mul_div(1, 1, -1, Rounding::HalfUp), None);
        assert_eq!(mul_div(-1, 1, 2, Rounding::HalfUp), Some(-1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Times a factor on both sides, which pushes the product over 128 bits.
        #[test]
        fn a_common_factor_changes_nothing(
            a in any::<i64>(),
            b in any::<i64>(),
            d in 1..=i64::MAX,
            factor in 1..=i64::MAX,
            mode in prop::sample::select(vec![
                Rounding::HalfUp, Rounding::HalfEven, Rounding::HalfDown, Rounding::Up,
                Rounding::Down, Rounding::Ceiling, Rounding::Floor,
            ]),
        ) {
            let (a, b, d, factor) = (i128::from(a), i128::from(b), i128::from(d), i128::from(factor));
            let narrow = mode.div(a * b, d);
            prop_assert_eq!(mul_div(a, b, d, mode), Some(narrow));
            prop_assert_eq!(mul_div(a * factor, b, d * factor, mode), Some(narrow));
            prop_assert_eq!(times(a, b), Some(a * b));
        }
    }
}
