//! Vectors, noise and the few functions that a picture needs, from `+ - * /` and `sqrt` alone.
//!
//! These five are exact in IEEE 754, so every machine computes the same picture to the last bit and its digest can be
//! compared. `sin`, `exp` and `powf` are not: a C library picks among several versions by the CPU that it finds.

use std::ops::{Add, Mul, Neg, Sub};

/// A point, a direction or a colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct V(pub f64, pub f64, pub f64);

impl V {
    /// The same in all three.
    pub const fn all(s: f64) -> V {
        V(s, s, s)
    }

    /// Scalar product.
    pub fn dot(self, o: V) -> f64 {
        self.0 * o.0 + self.1 * o.1 + self.2 * o.2
    }

    /// Vector product.
    pub fn cross(self, o: V) -> V {
        V(self.1 * o.2 - self.2 * o.1, self.2 * o.0 - self.0 * o.2, self.0 * o.1 - self.1 * o.0)
    }

    /// Of length one. The null vector stays what it is.
    pub fn unit(self) -> V {
        let length = self.dot(self).sqrt();
        if length > 0.0 { self * (1.0 / length) } else { self }
    }

    /// From `self` at 0 to `o` at 1.
    pub fn mix(self, o: V, t: f64) -> V {
        self * (1.0 - t) + o * t
    }

    /// Component by component, as light through a filter.
    pub fn filter(self, o: V) -> V {
        V(self.0 * o.0, self.1 * o.1, self.2 * o.2)
    }

    /// The mirror image of a direction at a surface with normal `n`.
    pub fn reflect(self, n: V) -> V {
        self - n * (2.0 * self.dot(n))
    }
}

impl Add for V {
    type Output = V;
    fn add(self, o: V) -> V {
        V(self.0 + o.0, self.1 + o.1, self.2 + o.2)
    }
}

impl Sub for V {
    type Output = V;
    fn sub(self, o: V) -> V {
        V(self.0 - o.0, self.1 - o.1, self.2 - o.2)
    }
}

impl Mul<f64> for V {
    type Output = V;
    fn mul(self, s: f64) -> V {
        V(self.0 * s, self.1 * s, self.2 * s)
    }
}

impl Neg for V {
    type Output = V;
    fn neg(self) -> V {
        self * -1.0
    }
}

/// 0 below `a`, 1 above `b`, smooth between.
pub fn smooth(a: f64, b: f64, x: f64) -> f64 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// `x` to the power 2^`doublings`.
pub fn power(mut x: f64, doublings: u32) -> f64 {
    for _ in 0..doublings {
        x *= x;
    }
    x
}

/// Close to e^-x for x ≥ 0, by squaring (1 - x/256) eight times.
pub fn fade(x: f64) -> f64 {
    power((1.0 - x / 256.0).max(0.0), 8)
}

/// Thirty-two well mixed bits from three numbers.
pub fn hash(a: i64, b: i64, c: i64) -> u32 {
    let mut h = 0x9e37_79b9_7f4a_7c15_u64;
    for part in [a, b, c] {
        h = (h ^ part as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h ^= h >> 29;
    }
    (h.wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
}

/// Like `hash`, as a number in [0, 1).
pub fn random(a: i64, b: i64, c: i64) -> f64 {
    f64::from(hash(a, b, c)) / 4_294_967_296.0
}

/// Value noise in [0, 1): random at whole coordinates, smooth between.
pub fn noise(x: f64, y: f64, layer: i64) -> f64 {
    let (i, j) = (x.floor(), y.floor());
    let (u, v) = (x - i, y - j);
    let (u, v) = (u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v));
    let (i, j) = (i as i64, j as i64);
    let low = random(i, j, layer) * (1.0 - u) + random(i + 1, j, layer) * u;
    let high = random(i, j + 1, layer) * (1.0 - u) + random(i + 1, j + 1, layer) * u;
    low * (1.0 - v) + high * v
}

/// Noise over `octaves` scales, in [0, 1).
pub fn cloudy(x: f64, y: f64, octaves: i64) -> f64 {
    let (mut sum, mut weight, mut total) = (0.0, 0.5, 0.0);
    let (mut x, mut y) = (x, y);
    for layer in 0..octaves {
        sum += weight * noise(x, y, layer);
        total += weight;
        weight *= 0.5;
        // Turned as well as shrunk, or the grids of all scales show as one.
        (x, y) = (1.6 * x + 1.2 * y + 7.3, 1.6 * y - 1.2 * x + 3.1);
    }
    sum / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_vector_has_length_one_and_null_stays_null() {
        let v = V(3.0, 4.0, 12.0).unit();
        assert!((v.dot(v) - 1.0).abs() < 1e-12);
        assert_eq!(V::all(0.0).unit(), V::all(0.0));
    }

    #[test]
    fn a_mirrored_ray_leaves_as_steeply_as_it_came() {
        let out = V(1.0, -2.0, 0.5).reflect(V(0.0, 1.0, 0.0));
        assert_eq!(out, V(1.0, 2.0, 0.5));
    }

    #[test]
    fn fade_is_close_to_the_exponential() {
        for x in [0.0, 0.1, 1.0, 3.0, 10.0] {
            assert!((fade(x) - f64::exp(-x)).abs() < 0.003, "{x}");
        }
    }

    #[test]
    fn noise_stays_in_range_and_meets_its_grid() {
        for i in -20..20 {
            let x = f64::from(i) * 0.37;
            assert!((0.0..1.0).contains(&cloudy(x, 1.0 - x, 5)));
        }
        assert_eq!(noise(3.0, -2.0, 1), random(3, -2, 1));
    }
}
