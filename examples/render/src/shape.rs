//! Solid shapes and where a ray meets them.

use crate::vector::V;

/// A half-line; `inverse` is one over each component of the direction.
#[derive(Clone, Copy, Debug)]
pub struct Ray {
    /// Where it starts.
    pub origin: V,
    /// Where it goes, of length one.
    pub direction: V,
    inverse: V,
}

impl Ray {
    /// From a point into a direction of length one.
    pub fn new(origin: V, direction: V) -> Ray {
        let inverse = V(1.0 / direction.0, 1.0 / direction.1, 1.0 / direction.2);
        Ray { origin, direction, inverse }
    }

    /// The point at a distance.
    pub fn at(&self, distance: f64) -> V {
        self.origin + self.direction * distance
    }
}

/// A box with sides along the axes.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The corner with the smallest coordinates.
    pub low: V,
    /// The corner with the largest coordinates.
    pub high: V,
}

impl Block {
    /// The distance at which a ray enters, and the normal there. A ray that starts inside does not hit.
    pub fn hit(&self, ray: &Ray) -> Option<(f64, V)> {
        let (x0, x1) = slab(self.low.0, self.high.0, ray.origin.0, ray.inverse.0);
        let (y0, y1) = slab(self.low.1, self.high.1, ray.origin.1, ray.inverse.1);
        let (z0, z1) = slab(self.low.2, self.high.2, ray.origin.2, ray.inverse.2);
        let enter = x0.max(y0).max(z0);
        if enter <= 0.0 || enter > x1.min(y1).min(z1) {
            return None;
        }
        let normal = if enter == x0 {
            V(-ray.direction.0.signum(), 0.0, 0.0)
        } else if enter == y0 {
            V(0.0, -ray.direction.1.signum(), 0.0)
        } else {
            V(0.0, 0.0, -ray.direction.2.signum())
        };
        Some((enter, normal))
    }

    /// Whether a ray passes through it at all, from outside or from within.
    pub fn touched(&self, ray: &Ray) -> bool {
        let (x0, x1) = slab(self.low.0, self.high.0, ray.origin.0, ray.inverse.0);
        let (y0, y1) = slab(self.low.1, self.high.1, ray.origin.1, ray.inverse.1);
        let (z0, z1) = slab(self.low.2, self.high.2, ray.origin.2, ray.inverse.2);
        x0.max(y0).max(z0).max(0.0) <= x1.min(y1).min(z1)
    }
}

/// The distances at which a ray crosses two parallel planes, the nearer first.
fn slab(low: f64, high: f64, origin: f64, inverse: f64) -> (f64, f64) {
    let (a, b) = ((low - origin) * inverse, (high - origin) * inverse);
    if a < b { (a, b) } else { (b, a) }
}

/// What lies behind all of some planes, each with its outward normal and its distance from the origin.
#[derive(Clone, Debug)]
pub struct Hull(pub Vec<(V, f64)>);

impl Hull {
    /// As `Block::hit`.
    pub fn hit(&self, ray: &Ray) -> Option<(f64, V)> {
        let (mut enter, mut leave, mut normal) = (0.0, f64::INFINITY, V::all(0.0));
        for &(n, d) in &self.0 {
            let (speed, gap) = (n.dot(ray.direction), d - n.dot(ray.origin));
            if speed < 0.0 {
                let t = gap / speed;
                if t > enter {
                    (enter, normal) = (t, n);
                }
            } else if speed > 0.0 {
                leave = f64::min(leave, gap / speed);
            } else if gap < 0.0 {
                return None;
            }
        }
        (enter > 0.0 && enter <= leave).then_some((enter, normal))
    }
}

/// A round beam with round ends.
#[derive(Clone, Copy, Debug)]
pub struct Beam {
    /// One end.
    pub from: V,
    /// The other; the same for a ball.
    pub to: V,
    /// Its thickness, halved.
    pub radius: f64,
}

impl Beam {
    /// As `Block::hit`.
    pub fn hit(&self, ray: &Ray) -> Option<(f64, V)> {
        let (axis, start) = (self.to - self.from, ray.origin - self.from);
        let (aa, ad, as_) = (axis.dot(axis), axis.dot(ray.direction), axis.dot(start));
        let (ds, ss) = (ray.direction.dot(start), start.dot(start));
        let (a, b) = (aa - ad * ad, aa * ds - as_ * ad);
        let c = aa * ss - as_ * as_ - self.radius * self.radius * aa;
        let inside = b * b - a * c;
        if aa > 0.0 && inside < 0.0 {
            return None;
        }
        let t = if a > 1e-12 { (-b - inside.sqrt()) / a } else { f64::NEG_INFINITY };
        let along = as_ + t * ad;
        if along > 0.0 && along < aa {
            let normal = (ray.at(t) - self.from - axis * (along / aa)) * (1.0 / self.radius);
            return (t > 0.0).then_some((t, normal));
        }
        let end = if along <= 0.0 { self.from } else { self.to };
        ball(end, self.radius, ray)
    }
}

fn ball(centre: V, radius: f64, ray: &Ray) -> Option<(f64, V)> {
    let start = ray.origin - centre;
    let b = start.dot(ray.direction);
    let inside = b * b - start.dot(start) + radius * radius;
    if inside < 0.0 {
        return None;
    }
    let t = -b - inside.sqrt();
    (t > 0.0).then(|| (t, (ray.at(t) - centre) * (1.0 / radius)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down_from(x: f64, y: f64) -> Ray {
        Ray::new(V(x, y, 0.5), V(0.0, -1.0, 0.0))
    }

    #[test]
    fn a_ray_meets_the_top_of_a_box_and_not_what_is_beside_or_behind_it() {
        let block = Block { low: V(0.0, 0.0, 0.0), high: V(1.0, 2.0, 1.0) };
        assert_eq!(block.hit(&down_from(0.5, 5.0)), Some((3.0, V(-0.0, 1.0, -0.0))));
        assert_eq!(block.hit(&down_from(1.5, 5.0)), None);
        assert_eq!(block.hit(&down_from(0.5, -1.0)), None);
        assert!(block.touched(&down_from(0.5, 1.0)), "from within");
    }

    #[test]
    fn a_hull_of_six_planes_is_a_box() {
        let mut planes = Vec::new();
        for n in [V(1.0, 0.0, 0.0), V(0.0, 1.0, 0.0), V(0.0, 0.0, 1.0)] {
            planes.extend([(n, 1.0), (-n, 0.0)]);
        }
        let hull = Hull(planes);
        assert_eq!(hull.hit(&down_from(0.5, 4.0)), Some((3.0, V(0.0, 1.0, 0.0))));
        assert_eq!(hull.hit(&down_from(-0.5, 4.0)), None);
    }

    #[test]
    fn a_beam_is_met_on_its_side_and_at_its_ends() {
        let beam = Beam { from: V(0.0, 0.0, 0.5), to: V(10.0, 0.0, 0.5), radius: 1.0 };
        let (t, n) = beam.hit(&down_from(5.0, 4.0)).expect("above its middle");
        assert!((t - 3.0).abs() < 1e-9 && (n.1 - 1.0).abs() < 1e-9);
        let (t, _) = beam.hit(&down_from(10.5, 4.0)).expect("above its round end");
        assert!(t > 3.0 && t < 4.0);
        assert!(beam.hit(&down_from(11.5, 4.0)).is_none());
    }
}
