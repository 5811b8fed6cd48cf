//! The evening sky over hills, and the water that mirrors it.

use crate::vector::{V, cloudy, fade, noise, power, random, smooth};

/// Where the sun stands, not of length one.
const SUN: V = V(-0.86, 0.097, -0.535);
/// The light that it still gives.
pub const SUNLIGHT: V = V(2.6, 1.25, 0.55);

/// The direction of the sun.
pub fn sun() -> V {
    SUN.unit()
}

/// The sky's light from a direction above the horizon, without clouds, hills or the sun itself.
pub fn glow(d: V) -> V {
    let up = d.1.max(0.0);
    let towards = 0.5 + 0.5 * d.dot(sun());
    let horizon = V(0.50, 0.36, 0.42).mix(V(1.15, 0.52, 0.20), towards * towards * towards);
    let middle = V(0.15, 0.21, 0.44).mix(V(0.66, 0.34, 0.30), towards * towards);
    let zenith = V(0.022, 0.050, 0.16);
    let low = horizon.mix(middle, smooth(0.0, 0.22, up));
    low.mix(zenith, smooth(0.06, 0.55, up))
}

/// All that is seen in a direction where nothing built stands.
pub fn look(d: V) -> V {
    let mut light = glow(d);
    let facing = d.dot(sun()).max(0.0);
    light = light + V(1.3, 0.62, 0.22) * (0.40 * power(facing, 5)) + V(1.6, 1.0, 0.5) * (0.8 * power(facing, 9));
    if facing > 0.99985 {
        light = light + V(9.0, 5.6, 2.4);
    }
    light = stars(d, light);
    light = clouds(d, light);
    hills(d, light)
}

fn stars(d: V, light: V) -> V {
    if d.1 < 0.25 {
        return light;
    }
    let (x, z) = (d.0 / (d.1 + 0.4) * 150.0, d.2 / (d.1 + 0.4) * 150.0);
    let (i, j) = (x.floor(), z.floor());
    let (cell_x, cell_z) = (i as i64, j as i64);
    if random(cell_x, cell_z, 77) < 0.93 {
        return light;
    }
    let (u, v) = (x - i - 0.2 - 0.6 * random(cell_x, cell_z, 78), z - j - 0.2 - 0.6 * random(cell_x, cell_z, 79));
    let bright = random(cell_x, cell_z, 80);
    light + V(0.9, 0.95, 1.0) * (bright * bright * smooth(0.03, 0.0, u * u + v * v) * smooth(0.25, 0.6, d.1))
}

fn clouds(d: V, light: V) -> V {
    if d.1 < 0.005 {
        return light;
    }
    let (x, z) = (d.0 / (d.1 + 0.09) * 1.1, d.2 / (d.1 + 0.09) * 2.3);
    let thick = cloudy(x + 4.2, z + 1.7, 6);
    let cover = smooth(0.47, 0.78, thick) * smooth(0.005, 0.12, d.1);
    let facing = power(d.dot(sun()).max(0.0), 2);
    // Lit from below: thin edges glow, thick middles stay dark.
    let edge = V(1.25, 0.55, 0.36).mix(V(2.0, 1.05, 0.42), facing);
    let middle = V(0.30, 0.23, 0.33).mix(V(0.62, 0.28, 0.22), facing);
    let lit = edge.mix(middle, smooth(0.55, 0.85, thick)) * (0.62 + 0.38 * (1.0 - d.1));
    light.mix(lit, 0.85 * cover)
}

/// Two ranges of hills, the nearer one with the lights of a town.
fn hills(d: V, light: V) -> V {
    // Where on the horizon: goes once around as the angle does, without an arc tangent.
    let turn = d.0 / (d.0 * d.0 + d.2 * d.2).sqrt() + if d.2 > 0.0 { 10.0 } else { 0.0 };
    let far = 0.030 + 0.075 * cloudy(turn * 4.0, 0.5, 6);
    let near = 0.002 + 0.055 * cloudy(turn * 7.0 + 31.0, 9.5, 6);
    let haze = glow(V(d.0, 0.0, d.2).unit());
    let mut seen = light;
    if d.1 < far {
        seen = V(0.16, 0.13, 0.22).mix(haze, 0.45);
    }
    if d.1 < near {
        seen = V(0.055, 0.05, 0.09).mix(haze, 0.16);
        let (x, y) = (turn * 260.0, d.1 * 260.0);
        let (i, j) = (x.floor(), y.floor());
        let dense = 0.05 + 0.22 * smooth(0.5, 0.8, noise(turn * 9.0, 2.0, 5)) * smooth(0.03, 0.0, d.1);
        if random(i as i64, j as i64, 91) < dense {
            let (u, v) = (x - i - 0.5, y - j - 0.5);
            let warm = random(i as i64, j as i64, 92);
            seen = seen + V(1.5, 0.85 + 0.4 * warm, 0.3 + 0.6 * warm) * (0.8 * smooth(0.09, 0.0, u * u + v * v));
        }
    }
    seen
}

/// The water's surface normal at a place, seen from a distance.
pub fn ripple(x: f64, z: f64, distance: f64) -> V {
    let height = |x: f64, z: f64| {
        0.55 * noise(x * 0.16 + z * 0.05, z * 0.30, 11)
            + 0.20 * noise(x * 0.55 - z * 0.2, z * 0.9 + x * 0.1, 12)
            + 0.07 * noise(x * 1.7 + z * 0.6, z * 2.3, 13)
    };
    let step = 0.02;
    let here = height(x, z);
    let (slope_x, slope_z) = ((height(x + step, z) - here) / step, (height(x, z + step) - here) / step);
    // Ripples too small to see even out.
    let calm = 0.30 / (1.0 + distance * 0.006);
    V(-slope_x * calm, 1.0, -slope_z * calm).unit()
}

/// What the air adds between a thing and the eye.
pub fn haze(seen: V, direction: V, distance: f64) -> V {
    let air = glow(V(direction.0, 0.02, direction.2).unit());
    air.mix(seen, fade(distance / 5000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sky_is_brightest_at_the_sun() {
        let bright = |d: V| look(d.unit()).dot(V::all(1.0));
        assert!(bright(SUN) > bright(V(0.0, 1.0, 0.0)));
        assert!(bright(SUN) > bright(V(0.8, 0.2, 0.6)));
    }

    #[test]
    fn water_is_level_on_the_whole() {
        let mut sum = V::all(0.0);
        for i in 0..400 {
            sum = sum + ripple(f64::from(i % 20) * 3.7, f64::from(i / 20) * 2.9, 10.0);
        }
        let mean = sum.unit();
        assert!(mean.1 > 0.995, "{mean:?}");
    }
}
