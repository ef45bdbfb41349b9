//! Powers and activations that a compiler can vectorise: no branches, no calls, tables or `mul_add`.
//!
//! All are accurate to about 1e-6 relative (tested against f64), and give the same bits on every instruction set.

/// Added to squared magnitudes: keeps powers of zero finite, 180 dB below full scale.
pub(crate) const EPSILON: f32 = 1e-18;

/// `log2(x)` for normal, positive `x`.
#[inline(always)]
fn log2(x: f32) -> f32 {
    // Bits of sqrt(1/2): the mantissa goes to sqrt(1/2)..sqrt(2), around 1.
    const HALF_ROOT: u32 = 0x3f35_04f3;
    let exponent = x.to_bits().wrapping_sub(HALF_ROOT).cast_signed() >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23).cast_unsigned()));
    // log2(m) = 2 / ln 2 * artanh(s), s at most 0.172: five terms of the series leave 4e-10.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let t = s * s;
    let series = 1.0 + t * (1.0 / 3.0 + t * (0.2 + t * (1.0 / 7.0 + t * (1.0 / 9.0))));
    #[expect(clippy::cast_precision_loss, reason = "at most 127")]
    let whole = exponent as f32;
    whole + std::f32::consts::LOG2_E * 2.0 * s * series
}

/// `2^y` for `y` in -126..=127.
#[inline(always)]
fn exp2(y: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = y + ROUND;
    let fraction = y - (shifted - ROUND);
    let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    // Taylor series of exp(f ln 2), f at most 1/2: the next term is 5e-9.
    const LN_2: f32 = std::f32::consts::LN_2;
    let f = fraction * LN_2;
    let series = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    f32::from_bits(series.to_bits().wrapping_add(whole << 23))
}

/// Natural logarithm of normal, positive `x`.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    std::f32::consts::LN_2 * log2(x)
}

/// `e^x`, `x` within +-87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    exp2(std::f32::consts::LOG2_E * x)
}

/// `x^exponent` for normal, positive `x`; the result must be normal too. The relative error grows with `exponent`: 5e-7 at 0.2 and below.
#[inline(always)]
pub(crate) fn pow(x: f32, exponent: f32) -> f32 {
    exp2(exponent * log2(x))
}

/// `1 / (1 + exp(-x))`, accurate relative to its value at both ends.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let y = (-std::f32::consts::LOG2_E * x).clamp(-126.0, 126.0);
    1.0 / (1.0 + exp2(y))
}

/// Hyperbolic tangent: the rational function of degree 13 over 6 that Eigen uses.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let x = x.clamp(-7.905_311, 7.905_311);
    let t = x * x;
    let above = 4.893_525_6e-3
        + t * (6.372_619_3e-4
            + t * (1.485_722_4e-5 + t * (5.122_297_1e-8 + t * (-8.604_672e-11 + t * (2.000_188e-13 + t * -2.760_768_5e-16)))));
    let below = 4.893_525e-3 + t * (2.268_434_6e-3 + t * (1.185_347_1e-4 + t * 1.198_258_4e-6));
    x * above / below
}

/// Compressed magnitude of a spectrum value with squared magnitude `power`, `(power + 1e-18)^0.15`, and the factor `(power + 1e-18)^-0.35` that compresses
/// its parts.
#[inline(always)]
pub(crate) fn compression(power: f32) -> (f32, f32) {
    let power = power + EPSILON;
    let magnitude = pow(power, 0.15);
    (magnitude, magnitude / power.sqrt())
}

/// What a compressed value of squared magnitude `power` is multiplied with to undo the compression: `power^(7/6)`, 0 at 0.
#[inline(always)]
pub(crate) fn expansion(power: f32) -> f32 {
    // Below 1e-30 the product is nothing to speak of: only the logarithm of 0 must be avoided.
    power * pow(power.max(1e-30), 1.0 / 6.0)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test points are rounded to f32 on purpose")]
mod tests {
    use super::*;

    /// Largest relative difference over `points` values of `x` from `low` to `high`, spaced by `scale`.
    fn worst(xs: impl Iterator<Item = f32>, got: impl Fn(f32) -> f32, want: impl Fn(f64) -> f64) -> f64 {
        xs.map(|x| {
            let want = want(f64::from(x));
            (f64::from(got(x)) - want).abs() / want.abs().max(1e-37)
        })
        .fold(0.0, f64::max)
    }

    /// 200 000 values from `10^low` to `10^high`.
    fn decades(low: f64, high: f64) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |i| 10f64.powf(low + (high - low) * f64::from(i) / 200_000.0) as f32)
    }

    /// 200 000 values from `-limit` to `limit`.
    fn line(limit: f64) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |i| (limit * (f64::from(i) / 100_000.0 - 1.0)) as f32)
    }

    #[test]
    fn powers_agree_with_f64() {
        let epsilon = f64::from(EPSILON);
        assert!(worst(decades(-30.0, 12.0), |p| compression(p).0, |p| (p + epsilon).powf(0.15)) < 1e-6);
        assert!(worst(decades(-30.0, 12.0), |p| compression(p).1, |p| (p + epsilon).powf(-0.35)) < 1e-6);
        assert!(worst(decades(-20.0, 15.0), expansion, |p| p.powf(7.0 / 6.0)) < 1e-6);
        assert_eq!(expansion(0.0), 0.0);
        assert!((compression(0.0).0 / EPSILON.powf(0.15) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn activations_agree_with_f64() {
        assert!(worst(line(20.0), sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < 3e-6);
        assert!(worst(line(5.0), sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < 1e-6);
        assert!(worst(line(20.0), tanh, f64::tanh) < 1e-6);
        assert!(worst(line(1e-3), tanh, f64::tanh) < 1e-6);
    }

    #[test]
    fn extremes_stay_in_range() {
        for x in [f32::MAX, 1e30, 200.0] {
            assert_eq!(sigmoid(x), 1.0);
            assert!(sigmoid(-x) >= 0.0 && sigmoid(-x) < 1e-36, "{}", sigmoid(-x));
            assert!((tanh(x) - 1.0).abs() < 1e-6 && (tanh(-x) + 1.0).abs() < 1e-6 && tanh(x) <= 1.0);
        }
        assert_eq!(tanh(0.0), 0.0);
        assert_eq!(sigmoid(0.0), 0.5);
    }
}
