//! From the scene to the colours of a tile's dots.

use std::fmt;

use crate::scene::{Part, Scene, surface};
use crate::shape::Ray;
use crate::sky;
use crate::vector::{V, power, random};

/// A picture of equal tiles, numbered by rows from the top left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Tiles in a row.
    pub columns: u32,
    /// Rows of tiles.
    pub rows: u32,
    /// Width and height of the whole picture in dots.
    pub size: u32,
}

/// Why no such tile can be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refused {
    /// The size is no multiple of the tiles in a row or column, or something is zero.
    Uneven(Grid),
    /// The tile's number is past the last.
    NoSuchTile(u32, Grid),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Uneven(g) => {
                write!(f, "a picture of {} dots can't be cut into {}x{} equal tiles", g.size, g.columns, g.rows)
            }
            Refused::NoSuchTile(tile, g) => {
                write!(f, "there is no tile {tile}: the tiles are 0 to {}", g.columns * g.rows - 1)
            }
        }
    }
}

/// Red, green and blue of each dot, by rows from the top left.
#[derive(Clone, Debug, PartialEq)]
pub struct Dots {
    /// Dots in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Three bytes a dot.
    pub rgb: Vec<u8>,
}

impl Grid {
    /// Checks that the picture can be cut so.
    ///
    /// # Errors
    /// `Uneven` if it can't.
    pub fn checked(self) -> Result<Grid, Refused> {
        let Grid { columns, rows, size } = self;
        let even = columns > 0 && rows > 0 && size > 0 && size % columns == 0 && size % rows == 0;
        if even { Ok(self) } else { Err(Refused::Uneven(self)) }
    }

    /// Width and height of a tile.
    pub fn tile_size(&self) -> (u32, u32) {
        (self.size / self.columns, self.size / self.rows)
    }

    /// The picture's column and row of a tile's top left dot.
    ///
    /// # Errors
    /// `NoSuchTile` past the last one.
    pub fn corner(&self, tile: u32) -> Result<(u32, u32), Refused> {
        if tile >= self.columns * self.rows {
            return Err(Refused::NoSuchTile(tile, *self));
        }
        let (width, height) = self.tile_size();
        Ok((tile % self.columns * width, tile / self.columns * height))
    }
}

/// Draws one tile, with `samples` x `samples` rays for each dot.
///
/// # Errors
/// `NoSuchTile` if the grid has none of that number.
pub fn draw(grid: Grid, tile: u32, samples: u32) -> Result<Dots, Refused> {
    let (left, top) = grid.corner(tile)?;
    let (width, height) = grid.tile_size();
    let camera = Camera::new(f64::from(grid.size));
    let scene = Scene::harbour();
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for y in top..top + height {
        for x in left..left + width {
            rgb.extend(dot(&scene, &camera, x, y, samples));
        }
    }
    Ok(Dots { width, height, rgb })
}

struct Camera {
    eye: V,
    forward: V,
    right: V,
    up: V,
    size: f64,
}

impl Camera {
    fn new(size: f64) -> Camera {
        let (eye, target) = (V(104.0, 11.0, 128.0), V(2.0, 21.0, -6.0));
        let forward = (target - eye).unit();
        let right = forward.cross(V(0.0, 1.0, 0.0)).unit();
        Camera { eye, forward, right, up: right.cross(forward), size }
    }

    /// Through a place in the picture, in dots from the top left.
    fn ray(&self, x: f64, y: f64) -> Ray {
        let (u, v) = (x / self.size * 2.0 - 1.0, 1.0 - y / self.size * 2.0);
        let wide = 0.44;
        Ray::new(self.eye, (self.forward + self.right * (u * wide) + self.up * (v * wide)).unit())
    }
}

fn dot(scene: &Scene, camera: &Camera, x: u32, y: u32, samples: u32) -> [u8; 3] {
    let mut sum = V::all(0.0);
    for i in 0..samples {
        for j in 0..samples {
            // Jittered places, so that edges are smooth; chance depends on the dot alone, so that tiles fit together.
            let chance = Chance { x: i64::from(x), y: i64::from(y), sample: i64::from(i * samples + j) };
            let dx = (f64::from(i) + chance.draw(0)) / f64::from(samples);
            let dy = (f64::from(j) + chance.draw(1)) / f64::from(samples);
            // Clipped before the mean: one glaring sample must not leave a jagged edge.
            let seen = see(scene, &camera.ray(f64::from(x) + dx, f64::from(y) + dy), &chance);
            sum = sum + V(tone(seen.0), tone(seen.1), tone(seen.2));
        }
    }
    let mean = sum * (1.0 / f64::from(samples * samples));
    let (u, v) = (f64::from(x) / camera.size - 0.5, f64::from(y) / camera.size - 0.5);
    let vignette = 1.0 - 0.35 * (u * u + v * v);
    [mean.0, mean.1, mean.2].map(|c| (c * vignette * 255.0 + 0.5).clamp(0.0, 255.0) as u8)
}

/// The random numbers of one sample.
struct Chance {
    x: i64,
    y: i64,
    sample: i64,
}

impl Chance {
    fn draw(&self, use_: i64) -> f64 {
        random(self.x, self.y, self.sample * 64 + use_)
    }

    /// A direction on the side of a normal, likelier where it is steeper.
    fn around(&self, n: V, use_: i64) -> V {
        for turn in 0..8 {
            let d = V(
                self.draw(use_ + 3 * turn) * 2.0 - 1.0,
                self.draw(use_ + 3 * turn + 1) * 2.0 - 1.0,
                self.draw(use_ + 3 * turn + 2) * 2.0 - 1.0,
            );
            // A point in the ball, on the sphere, from the normal's tip: Lambert's law without a cosine.
            if d.dot(d) <= 1.0 && d.dot(d) > 1e-4 {
                return (n + d.unit() * 0.999).unit();
            }
        }
        n
    }
}

/// Film: bright light runs softly into white, then the eye's curve (close to x^(1/2.2), by square roots).
fn tone(x: f64) -> f64 {
    let x = x * 0.80;
    let film = ((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)).clamp(0.0, 1.0);
    let root = film.sqrt();
    let fourth = root.sqrt();
    (0.585 * root + 0.783 * fourth - 0.368 * fourth.sqrt()).clamp(0.0, 1.0)
}

/// The light that comes back along a ray.
fn see(scene: &Scene, ray: &Ray, chance: &Chance) -> V {
    let down = ray.direction.1 < 0.0;
    let sea = if down { -ray.origin.1 / ray.direction.1 } else { f64::INFINITY };
    match scene.hit(ray) {
        Some(hit) if hit.distance < sea => {
            let p = ray.at(hit.distance);
            let seen = lit(scene, p, hit.normal, hit.part, ray.direction, chance);
            sky::haze(seen, ray.direction, hit.distance)
        }
        _ if down => water(scene, ray, sea, chance),
        _ => sky::look(ray.direction),
    }
}

fn water(scene: &Scene, ray: &Ray, distance: f64, chance: &Chance) -> V {
    let p = ray.at(distance);
    let n = sky::ripple(p.0, p.2, distance);
    let mut up = ray.direction.reflect(n);
    if up.1 < 0.01 {
        up = V(up.0, 0.01, up.2).unit();
    }
    let mirrored = Ray::new(V(p.0, 0.001, p.2), up);
    let seen = match scene.hit(&mirrored) {
        Some(hit) => lit(scene, mirrored.at(hit.distance), hit.normal, hit.part, up, chance),
        None => sky::look(up),
    };
    let grazing = 1.0 - (-ray.direction.dot(n)).clamp(0.0, 1.0);
    let mirror = 0.04 + 0.96 * grazing * power(grazing, 2);
    let deep = V(0.010, 0.035, 0.055);
    sky::haze(deep.mix(seen, 0.94 * mirror), ray.direction, distance)
}

/// The light that a surface sends back: the sun's, the lamps', and what comes from one direction taken by chance.
fn lit(scene: &Scene, p: V, n: V, part: Part, from: V, chance: &Chance) -> V {
    let (paint, own, n) = surface(part, p, n);
    let start = p + n * 0.01;
    let mut light = V::all(0.0);
    let steep = n.dot(sky::sun());
    if steep > 0.0 && !scene.blocks(&Ray::new(start, sky::sun())) {
        light = sky::SUNLIGHT * steep;
    }
    for &(place, strength) in &scene.lamps {
        let way = place - p;
        let square = way.dot(way);
        let slant = n.dot(way);
        if slant > 0.0 {
            light = light + strength * (slant / (square.sqrt() * (30.0 + square)));
        }
    }
    let round = chance.around(n, 2);
    let ray = Ray::new(start, round);
    let bounced = match scene.hit(&ray) {
        // One bounce more is a guess: some light, in that surface's colour.
        Some(hit) => {
            let (paint, own, _) = surface(hit.part, ray.at(hit.distance), hit.normal);
            paint * 0.22 + V(own.0.min(1.0), own.1.min(1.0), own.2.min(1.0))
        }
        None if round.1 < 0.0 => sky::glow(round.reflect(V(0.0, 1.0, 0.0))) * 0.35,
        None => sky::glow(round) * 2.1,
    };
    light = light + bounced;
    let gloss = 0.03 + 0.30 * power(1.0 - (-from.dot(n)).clamp(0.0, 1.0), 2);
    let mirrored = from.reflect(n);
    let sheen = sky::glow(V(mirrored.0, mirrored.1.abs(), mirrored.2)) * (gloss * 0.5);
    paint.filter(light) + sheen + own
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { columns: 4, rows: 2, size: 64 };

    #[test]
    fn tiles_are_numbered_by_rows() {
        assert_eq!(GRID.tile_size(), (16, 32));
        assert_eq!(GRID.corner(0), Ok((0, 0)));
        assert_eq!(GRID.corner(5), Ok((16, 32)));
        assert_eq!(GRID.corner(8), Err(Refused::NoSuchTile(8, GRID)));
    }

    #[test]
    fn a_picture_that_can_not_be_cut_evenly_is_refused() {
        for grid in [Grid { size: 63, ..GRID }, Grid { rows: 0, ..GRID }, Grid { size: 0, ..GRID }] {
            assert_eq!(grid.checked(), Err(Refused::Uneven(grid)));
        }
    }

    #[test]
    fn a_tile_is_the_same_dots_as_the_whole_picture_has_there() {
        let whole = draw(Grid { columns: 1, rows: 1, size: 32 }, 0, 1).expect("the only tile");
        let tile = draw(Grid { columns: 2, rows: 2, size: 32 }, 3, 1).expect("the last tile");
        for row in 0..16 {
            let start = 3 * ((row + 16) * 32 + 16);
            assert_eq!(tile.rgb[3 * 16 * row..3 * 16 * (row + 1)], whole.rgb[start..start + 48]);
        }
    }

    #[test]
    fn tones_rise_from_black_to_white() {
        assert_eq!(tone(0.0), 0.0);
        assert!(tone(100.0) > 0.99);
        assert!((1..50).all(|i| tone(f64::from(i) * 0.1) > tone(f64::from(i - 1) * 0.1)));
    }
}
