//! The curve that undoes a saturation, its derivatives, and how far it is known.

use crate::unet::math;

/// Greatest asymmetry: where on its curve a saturation may be biased to, as the hyperbolic tangent of the bias.
const BIAS: f64 = 0.4;

/// Greatest hardness.
const HARDEST: f64 = 4.0;

/// How near to where a saturation ends the greatest peak may lie: a hyperbolic tangent driven 4.1 times beyond its knee.
const NEAREST: f64 = 0.9995;

/// Most that a peak is raised by: 13 dB.
const MOST: f64 = 4.5;

/// How much beyond the greatest peak heard the curve is believed, and how near to where it ends at most.
const BEYOND: f32 = 1.25;
const NEAR: f32 = 0.99;

/// Curvature under which the curve is its own series to the third power: beyond it the fifth is 80 dB less than the peak.
const STRAIGHT: f64 = 0.02;

/// Hardness under which the hyperbolic functions are summed as series.
const SOFTEST: f64 = 0.05;

/// A memoryless curve that gives back what a saturation took: odd but for a bias, of slope 1 at zero.
///
/// With `u = artanh(c y + t)` it is `x = (S(u) - S(b)) / (s S'(b))`, `S(u) = sinh(sqrt(hardness) u) / sqrt(hardness)`, `t = tanh(b) = asymmetry / s`,
/// `s^2 = curvature / (1 + hardness / 2)`, `c = s (1 - t^2)`. Hardness 0 undoes a hyperbolic tangent, 1 undoes `x / sqrt(1 + x^2)`, about 1.3 an arc
/// tangent. Near zero `x = y + asymmetry y^2 + (curvature / 3 + asymmetry^2) y^3`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Curve {
    /// Three times the coefficient of the third power, 0 or more: none is a straight line.
    pub(super) curvature: f64,
    /// Coefficient of the second power.
    pub(super) asymmetry: f64,
    /// How much steeper than for a hyperbolic tangent the curve gets towards its end, 0..=4.
    pub(super) hardness: f64,
}

/// Greatest excursions of a signal to either side, both positive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Peaks {
    pub(super) above: f64,
    pub(super) below: f64,
}

impl Peaks {
    /// The greater of the two.
    pub(super) fn greatest(self) -> f64 {
        self.above.max(self.below)
    }

    /// The same in units of `unit`.
    pub(super) fn over(self, unit: f64) -> Self {
        Self {
            above: self.above / unit,
            below: self.below / unit,
        }
    }
}

impl Curve {
    /// The same curve for a signal in units of `unit`.
    pub(super) fn over(self, unit: f64) -> Self {
        Self {
            curvature: self.curvature * unit * unit,
            asymmetry: self.asymmetry * unit,
            ..self
        }
    }

    /// The nearest curve that is allowed for a signal with these peaks: within all ranges, defined up to the peaks and raising none of them too much.
    pub(super) fn within(self, peaks: Peaks) -> Self {
        let hardness = self.hardness.clamp(0.0, HARDEST);
        let steepness = (self.curvature.max(0.0) / (1.0 + hardness / 2.0)).sqrt();
        if steepness < 1e-9 {
            return Self {
                hardness,
                ..Self::default()
            };
        }
        let bias = (self.asymmetry / steepness).clamp(-BIAS, BIAS);
        let rooms = ((NEAREST - bias) / peaks.above.max(1e-3)).min((NEAREST + bias) / peaks.below.max(1e-3));
        let mut curve = Self::of(steepness.min(rooms / (1.0 - bias * bias)), bias, hardness);
        for _ in 0..40 {
            let inverse = Inverse::new(curve);
            let raises = |peak: f64| f64::from(inverse.at(narrow(peak)).abs()) > MOST * (peak.abs() + 1e-3);
            if !raises(peaks.above) && !raises(-peaks.below) {
                break;
            }
            curve = Self::of(0.97 * curve.steepness(), bias, 0.9 * curve.hardness);
        }
        curve
    }

    fn of(steepness: f64, bias: f64, hardness: f64) -> Self {
        Self {
            curvature: steepness * steepness * (1.0 + hardness / 2.0),
            asymmetry: bias * steepness,
            hardness,
        }
    }

    fn steepness(self) -> f64 {
        (self.curvature / (1.0 + self.hardness / 2.0)).sqrt()
    }
}

/// What a curve makes of a sample, and its derivatives by curvature, asymmetry and hardness.
pub(super) type Restored = [f32; 4];

/// How a curve is computed: as its own series to the third power, with hyperbolic functions as series, or with an exponential. Constants of generic functions,
/// so that their loops have no branches.
const SERIES: u8 = 0;
const SOFT: u8 = 1;
const HARD: u8 = 2;

/// Samples that are computed at once.
pub(super) const BLOCK: usize = 32;

/// A curve made ready to be computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inverse {
    curvature: f32,
    asymmetry: f32,
    hardness: f32,
    /// [`SERIES`], [`SOFT`] or [`HARD`].
    form: u8,
    steepness: f32,
    bias: f32,
    /// Root of the hardness.
    root: f32,
    /// `S(b)`, `S'(b)`, and the derivative of `S(b)` by the hardness.
    rest: [f32; 3],
    /// `1 / (s S'(b))`.
    scale: f32,
}

impl Inverse {
    pub(super) fn new(curve: Curve) -> Self {
        let hyperbolic = if curve.hardness < SOFTEST { SOFT } else { HARD };
        let steepness = curve.steepness().max(1e-9);
        let bias = (curve.asymmetry / steepness).clamp(-BIAS, BIAS);
        let mut inverse = Self {
            curvature: narrow(curve.curvature),
            asymmetry: narrow(curve.asymmetry),
            hardness: narrow(curve.hardness),
            form: if curve.curvature < STRAIGHT { SERIES } else { hyperbolic },
            steepness: narrow(steepness),
            bias: narrow(bias),
            root: narrow(curve.hardness.sqrt()),
            rest: [0.0; 3],
            scale: 1.0,
        };
        // As samples are computed, so that nothing becomes nothing to the bit.
        let b = artanh(inverse.place(0.0));
        inverse.rest = if hyperbolic == SOFT {
            inverse.hyperbolic::<SOFT>(b)
        } else {
            inverse.hyperbolic::<HARD>(b)
        };
        inverse.scale = 1.0 / (inverse.steepness * inverse.rest[1]);
        inverse
    }

    /// `S(u)`, `S'(u)`, and the derivative of `S(u)` by the hardness.
    #[inline(always)]
    fn hyperbolic<const FORM: u8>(&self, u: f32) -> [f32; 3] {
        let square = u * u;
        let v = self.hardness * square;
        if FORM == SOFT {
            // Series of sinh(sqrt v) / sqrt v and of cosh(sqrt v), v at most 0.9.
            let sine = 1.0 + v / 6.0 * (1.0 + v / 20.0 * (1.0 + v / 42.0 * (1.0 + v / 72.0)));
            let cosine = 1.0 + v / 2.0 * (1.0 + v / 12.0 * (1.0 + v / 30.0 * (1.0 + v / 56.0)));
            let by_hardness = square * u * (1.0 / 6.0 + v * (1.0 / 60.0 + v * (1.0 / 1680.0 + v / 90_720.0)));
            return [u * sine, cosine, by_hardness];
        }
        let grown = math::exp(self.root * u);
        let shrunk = 1.0 / grown;
        let value = 0.5 * (grown - shrunk) / self.root;
        let slope = 0.5 * (grown + shrunk);
        [value, slope, (u * slope - value) / (2.0 * self.hardness)]
    }

    /// `c y + t`, where the curve is defined.
    #[inline(always)]
    fn place(&self, y: f32) -> f32 {
        (y * self.steepness * (1.0 - self.bias * self.bias) + self.bias).clamp(-narrow(NEAREST), narrow(NEAREST))
    }

    /// What was `y` before the saturation. Beyond its end the curve stays at its last value.
    pub(super) fn at(&self, y: f32) -> f32 {
        match self.form {
            SERIES => self.value::<SERIES>(y),
            SOFT => self.value::<SOFT>(y),
            _ => self.value::<HARD>(y),
        }
    }

    /// The same with its derivatives for a block: `[value or derivative][sample]`.
    #[inline(always)]
    pub(super) fn with_derivatives(&self, block: &[f32; BLOCK]) -> [[f32; BLOCK]; 4] {
        match self.form {
            SERIES => self.block::<SERIES>(block),
            SOFT => self.block::<SOFT>(block),
            _ => self.block::<HARD>(block),
        }
    }

    #[inline(always)]
    fn block<const FORM: u8>(&self, block: &[f32; BLOCK]) -> [[f32; BLOCK]; 4] {
        let mut all = [[0.0; BLOCK]; 4];
        for n in 0..BLOCK {
            let restored = self.restored::<FORM>(block[n]);
            for (all, restored) in all.iter_mut().zip(restored) {
                all[n] = restored;
            }
        }
        all
    }

    #[inline(always)]
    fn value<const FORM: u8>(&self, y: f32) -> f32 {
        if FORM == SERIES {
            let square = y * y;
            return y + self.asymmetry * square + (self.curvature / 3.0 + self.asymmetry * self.asymmetry) * square * y;
        }
        let z = self.place(y);
        let u = artanh(z);
        (self.hyperbolic::<FORM>(u)[0] - self.rest[0]) * self.scale
    }

    #[inline(always)]
    fn restored<const FORM: u8>(&self, y: f32) -> Restored {
        if FORM == SERIES {
            let square = y * y;
            let value = self.value::<FORM>(y);
            return [value, square * y / 3.0, square + 2.0 * self.asymmetry * square * y, 0.0];
        }
        let z = self.place(y);
        let u = artanh(z);
        let [value, slope, value_by_hardness] = self.hyperbolic::<FORM>(u);
        let [rest, rest_slope, rest_by_hardness] = self.rest;
        let (s, t) = (self.steepness, self.bias);
        let (room, rise) = (1.0 - t * t, slope / (1.0 - z * z) * self.scale);
        let x = (value - rest) * self.scale;
        // By steepness, bias and hardness with the other two held.
        let by_steepness = rise * y * room - x / s;
        let by_bias = rise * (1.0 - 2.0 * y * s * t) - 1.0 / (s * room) - x * self.hardness * rest / (rest_slope * room);
        let b = artanh(t);
        let by_hardness = (value_by_hardness - rest_by_hardness) * self.scale - x * 0.5 * b * rest / rest_slope;
        // Of the steepness and the bias by curvature, asymmetry and hardness.
        let half = 0.5 / self.curvature;
        let quarter = 0.25 / (1.0 + 0.5 * self.hardness);
        [
            x,
            (s * by_steepness - t * by_bias) * half,
            by_bias / s,
            by_hardness + (t * by_bias - s * by_steepness) * quarter,
        ]
    }

    /// How far the curve is known when the signal's peaks were `peaks`.
    pub(super) fn known(self, peaks: Peaks) -> Known {
        let gain = |end: f32| if end.abs() > 1e-9 { self.at(end) / end } else { 1.0 };
        let c = self.steepness * (1.0 - self.bias * self.bias);
        let end = |peak: f64, side: f32| {
            let peak = narrow(peak);
            let beyond = (BEYOND * peak).min((NEAR - side * self.bias) / c);
            let more = beyond > peak && gain(side * beyond) < 1.5 * narrow(MOST);
            if more { beyond } else { peak }
        };
        let (above, below) = (end(peaks.above, 1.0), end(peaks.below, -1.0));
        Known {
            gains: [gain(-below), gain(above)],
            ends: [-below, above],
            inverse: self,
        }
    }
}

/// A curve with straight lines beyond what is known of it: a peak greater than any before may be anything, and a saturation's end is steep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    inverse: Inverse,
    /// Where the lines begin, below and above zero, and how steep they are: as much as the curve has raised the sample there.
    ends: [f32; 2],
    gains: [f32; 2],
}

impl Known {
    /// What the curve adds to each sample of a block.
    #[inline(always)]
    pub(super) fn changes(&self, block: &[f32; BLOCK]) -> [f32; BLOCK] {
        match self.inverse.form {
            SERIES => self.block::<SERIES>(block),
            SOFT => self.block::<SOFT>(block),
            _ => self.block::<HARD>(block),
        }
    }

    #[inline(always)]
    fn block<const FORM: u8>(&self, block: &[f32; BLOCK]) -> [f32; BLOCK] {
        let mut changes = [0.0; BLOCK];
        for (change, y) in changes.iter_mut().zip(block) {
            let inside = y.max(self.ends[0]).min(self.ends[1]);
            let outside = y - inside;
            let gain = if outside < 0.0 { self.gains[0] } else { self.gains[1] };
            *change = self.inverse.value::<FORM>(inside) + outside * gain - y;
        }
        changes
    }
}

/// Inverse hyperbolic tangent, within [`NEAREST`] of nothing.
#[inline(always)]
fn artanh(z: f32) -> f32 {
    0.5 * math::ln((1.0 + z) / (1.0 - z))
}

/// A curve's numbers as samples are.
#[expect(
    clippy::cast_possible_truncation,
    reason = "curves are estimated in f64 and applied to samples, which are f32"
)]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAKS: Peaks = Peaks { above: 1.0, below: 1.0 };

    /// `drive` and `bias` as a saturation has them, for a signal with these peaks after it.
    fn curve(steepness: f64, bias: f64, hardness: f64) -> Curve {
        Curve::of(steepness, f64::tanh(bias), hardness)
    }

    fn worst(curve: Curve, bias: f64, saturate: impl Fn(f64) -> f64) -> f64 {
        let inverse = Inverse::new(curve);
        let slope = (saturate(bias + 1e-5) - saturate(bias - 1e-5)) / 2e-5;
        (-300..=300)
            .map(|i| {
                let x = f64::from(i) / 100.0;
                let y = (saturate(x + bias) - saturate(bias)) / slope;
                (f64::from(inverse.at(narrow(y))) - x).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn undoes_the_saturations_it_is_made_for() {
        for bias in [0.0, 0.25, -0.4] {
            assert!(worst(curve(1.0, bias, 0.0), bias, f64::tanh) < 2e-3);
        }
        assert!(worst(curve(1.0, 0.0, 1.0), 0.0, |x| x / (1.0 + x * x).sqrt()) < 2e-3);
    }

    #[test]
    fn derivatives_are_those_of_the_curve() {
        for (steepness, bias, hardness) in [
            (0.5, 0.0, 0.0),
            (0.9, 0.3, 0.03),
            (0.8, -0.2, 0.06),
            (0.7, 0.35, 2.0),
            (0.05, 0.3, 0.0),
        ] {
            let at = curve(steepness, bias, hardness);
            let [curvature, asymmetry, hardness] = [at.curvature, at.asymmetry, at.hardness];
            for y in [-0.9_f32, -0.3, 0.2, 0.8] {
                let [value, by @ ..] = Inverse::new(at).with_derivatives(&[y; BLOCK]).map(|block| block[0]);
                assert_eq!(value, Inverse::new(at).at(y));
                for (k, got) in by.into_iter().enumerate() {
                    if k == 2 && at.curvature < STRAIGHT {
                        continue;
                    }
                    let value = |step: f64| {
                        let mut moved = [curvature, asymmetry, hardness];
                        moved[k] += step;
                        let [curvature, asymmetry, hardness] = moved;
                        f64::from(
                            Inverse::new(Curve {
                                curvature,
                                asymmetry,
                                hardness,
                            })
                            .at(y),
                        )
                    };
                    let step = if k == 2 { 0.01 } else { 1e-3 };
                    // One-sided where less would be none.
                    let (low, high) = (if k == 2 && hardness < step { 0.0 } else { -step }, step);
                    let want = (value(high) - value(low)) / (high - low);
                    assert!(
                        (f64::from(got) - want).abs() < 0.02 * want.abs() + 2e-3,
                        "{at:?} at {y} by {k}: {got}, {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_allowed_curve_is_finite_and_rises() {
        for curvature in [-1.0, 0.0, 0.01, 0.5, 1.0, 3.0, 1e9] {
            for asymmetry in [-1e9, -0.3, 0.0, 0.2, 1e9] {
                for hardness in [-1.0, 0.0, 0.04, 1.0, 1e9] {
                    let peaks = Peaks { above: 1.0, below: 0.6 };
                    let curve = Curve {
                        curvature,
                        asymmetry,
                        hardness,
                    }
                    .within(peaks);
                    let known = Inverse::new(curve).known(peaks);
                    let mut last = f32::NEG_INFINITY;
                    for i in -400..=400 {
                        let y = i as f32 / 100.0;
                        let x = y + known.changes(&[y; BLOCK])[0];
                        assert!(x.is_finite() && x > last, "{curve:?} at {y}: {x} after {last}");
                        assert!(x.abs() <= 1.51 * narrow(MOST) * (y.abs() + 1e-3), "{curve:?} at {y}: {x}");
                        last = x;
                    }
                    assert_eq!(known.changes(&[0.0; BLOCK]), [0.0; BLOCK]);
                }
            }
        }
    }

    #[test]
    fn a_curve_in_other_units_is_the_same_curve() {
        let whole = curve(0.8, 0.2, 0.5);
        let half = whole.over(2.0);
        for y in [-0.45_f32, -0.1, 0.3] {
            let (one, other) = (Inverse::new(whole).at(2.0 * y), 2.0 * Inverse::new(half).at(y));
            assert!((one - other).abs() < 1e-5, "{one} {other}");
        }
        assert_eq!(
            Inverse::new(Curve::default().within(PEAKS)).known(PEAKS).changes(&[0.3; BLOCK]),
            [0.0; BLOCK]
        );
    }
}
