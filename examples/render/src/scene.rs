//! What stands in the picture: a container ship at her berth, the quay and its cranes.
//!
//! Metres; x along the ship to her bow, y up from the water, z from the quay out to the viewer.

use crate::shape::{Beam, Block, Hull, Ray};
use crate::vector::{V, hash, random};

/// How a surface looks, by what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// One colour all over.
    Paint(V),
    /// Gives light of its own.
    Light(V),
    /// The ship's side, with her name.
    Side,
    /// A stack of containers that starts at this height, in a bay and a row.
    Stack(f64, i64, i64),
    /// A white wall with cabin windows.
    Cabins,
    /// The concrete of the quay.
    Quay,
}

#[derive(Clone, Debug)]
enum Shape {
    Block(Block),
    Beam(Beam),
    Hull(Hull),
}

impl Shape {
    fn hit(&self, ray: &Ray) -> Option<(f64, V)> {
        match self {
            Shape::Block(block) => block.hit(ray),
            Shape::Beam(beam) => beam.hit(ray),
            Shape::Hull(hull) => hull.hit(ray),
        }
    }
}

/// Shapes that a ray need only be tried on if it touches the box around them.
#[derive(Clone, Debug)]
struct Group {
    around: Block,
    shapes: Vec<(Shape, Part)>,
}

impl Group {
    fn new() -> Group {
        Group { around: Block { low: V::all(f64::INFINITY), high: V::all(f64::NEG_INFINITY) }, shapes: Vec::new() }
    }

    fn grow(&mut self, low: V, high: V) {
        let (a, b) = (&mut self.around.low, &mut self.around.high);
        *a = V(a.0.min(low.0), a.1.min(low.1), a.2.min(low.2));
        *b = V(b.0.max(high.0), b.1.max(high.1), b.2.max(high.2));
    }

    fn block(&mut self, low: V, high: V, part: Part) {
        self.grow(low, high);
        self.shapes.push((Shape::Block(Block { low, high }), part));
    }

    fn beam(&mut self, from: V, to: V, radius: f64, part: Part) {
        let r = V::all(radius);
        self.grow(V(from.0.min(to.0), from.1.min(to.1), from.2.min(to.2)) - r, V::all(f64::NEG_INFINITY));
        self.grow(V::all(f64::INFINITY), V(from.0.max(to.0), from.1.max(to.1), from.2.max(to.2)) + r);
        self.shapes.push((Shape::Beam(Beam { from, to, radius }), part));
    }
}

/// Where a ray ends.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// How far away.
    pub distance: f64,
    /// Outward, of length one.
    pub normal: V,
    /// What was met.
    pub part: Part,
}

/// A lamp: its place and its light.
pub type Lamp = (V, V);

/// All solids and lamps.
#[derive(Clone, Debug)]
pub struct Scene {
    groups: Vec<Group>,
    /// What lights its surroundings.
    pub lamps: Vec<Lamp>,
}

const WARM: V = V(1.0, 0.66, 0.32);
const WHITE: V = V(0.74, 0.74, 0.70);
const DECK: f64 = 8.0;
const TIER: f64 = 2.7;
const BAYS: i64 = 8;
const ROWS: i64 = 8;

impl Scene {
    /// The harbour.
    pub fn harbour() -> Scene {
        let mut scene = Scene { groups: Vec::new(), lamps: Vec::new() };
        scene.ship();
        for bay in 0..BAYS {
            scene.groups.push(containers(bay));
        }
        scene.tower();
        scene.quay();
        for (x, paint) in [(-30.0, V(0.62, 0.10, 0.07)), (22.0, V(0.07, 0.22, 0.46)), (96.0, V(0.62, 0.10, 0.07))] {
            scene.crane(x, Part::Paint(paint));
        }
        scene
    }

    /// The nearest thing that a ray meets.
    pub fn hit(&self, ray: &Ray) -> Option<Hit> {
        let mut nearest: Option<Hit> = None;
        for group in self.groups.iter().filter(|group| group.around.touched(ray)) {
            for (shape, part) in &group.shapes {
                if let Some((distance, normal)) = shape.hit(ray)
                    && nearest.is_none_or(|hit| distance < hit.distance)
                {
                    nearest = Some(Hit { distance, normal, part: *part });
                }
            }
        }
        nearest
    }

    /// Whether anything stands in a ray's way.
    pub fn blocks(&self, ray: &Ray) -> bool {
        let mut touched = self.groups.iter().filter(|group| group.around.touched(ray));
        touched.any(|group| group.shapes.iter().any(|(shape, _)| shape.hit(ray).is_some()))
    }

    fn ship(&mut self) {
        let planes = [
            (V(0.0, 1.0, 0.0), DECK),
            (V(0.0, -1.0, 0.0), 5.0),
            (V(0.0, 0.0, 1.0), 11.0),
            (V(0.0, 0.0, -1.0), 11.0),
            // A raked stem between flaring bows, and a transom.
            (V(1.0, -0.55, 0.0), 66.0),
            (V(0.42, -0.20, 1.0), 33.0),
            (V(0.42, -0.20, -1.0), 33.0),
            (V(-1.0, -0.25, 0.0), 70.0),
        ];
        let unit = planes.map(|(n, d)| (n.unit(), d / n.dot(n).sqrt()));
        let mut group = Group::new();
        group.grow(V(-74.0, -5.0, -11.0), V(74.0, DECK, 11.0));
        group.shapes.push((Shape::Hull(Hull(unit.to_vec())), Part::Side));
        // Bulwark, foremast and its light.
        for z in [-10.9, 10.6] {
            group.block(V(-70.0, DECK, z), V(38.0, DECK + 1.1, z + 0.3), Part::Paint(WHITE * 0.8));
        }
        group.beam(V(62.0, DECK, 0.0), V(62.0, DECK + 13.0, 0.0), 0.35, Part::Paint(WHITE));
        group.beam(V(62.0, DECK + 13.6, 0.0), V(62.0, DECK + 13.6, 0.0), 0.45, Part::Light(WARM * 9.0));
        self.groups.push(group);
    }

    fn tower(&mut self) {
        let mut group = Group::new();
        group.block(V(-62.0, DECK, -9.0), V(-52.0, 34.0, 9.0), Part::Cabins);
        group.block(V(-61.0, 34.0, -11.5), V(-51.0, 35.0, 11.5), Part::Paint(WHITE));
        group.block(V(-60.0, 35.0, -8.0), V(-51.8, 37.6, 8.0), Part::Cabins);
        group.block(V(-61.0, 37.6, -8.6), V(-51.2, 38.2, 8.6), Part::Paint(WHITE));
        group.beam(V(-56.0, 38.0, 0.0), V(-56.0, 47.0, 0.0), 0.4, Part::Paint(WHITE));
        group.beam(V(-56.0, 44.0, -3.0), V(-56.0, 44.0, 3.0), 0.25, Part::Paint(WHITE));
        group.beam(V(-56.0, 47.6, 0.0), V(-56.0, 47.6, 0.0), 0.45, Part::Light(V(9.0, 1.6, 1.0)));
        // Funnel.
        group.block(V(-70.0, DECK, -4.0), V(-63.5, 31.0, 4.0), Part::Paint(V(0.05, 0.10, 0.20)));
        group.block(V(-70.1, 24.0, -4.1), V(-63.4, 28.0, 4.1), Part::Paint(V(0.72, 0.30, 0.06)));
        group.block(V(-69.0, 31.0, -3.0), V(-65.0, 33.0, 3.0), Part::Paint(V::all(0.03)));
        self.groups.push(group);
        self.lamps.push((V(-50.0, 36.0, 13.0), WARM * 60.0));
    }

    fn quay(&mut self) {
        let mut group = Group::new();
        group.block(V(-900.0, -6.0, -260.0), V(900.0, 4.2, -14.5), Part::Quay);
        for i in -12..14 {
            let x = f64::from(i) * 12.0;
            group.block(V(x - 0.6, -0.6, -14.5), V(x + 0.6, 3.6, -13.6), Part::Paint(V::all(0.025)));
        }
        self.groups.push(group);
        // Sheds behind it.
        let mut sheds = Group::new();
        for i in -3..4_i32 {
            let x = f64::from(i) * 74.0 - 20.0;
            let high = 12.0 + 5.0 * random(i64::from(i), 1, 4);
            let paint = V(0.20, 0.21, 0.24).mix(V(0.30, 0.20, 0.15), random(i64::from(i), 2, 4));
            sheds.block(V(x, 4.2, -130.0), V(x + 62.0, high, -84.0), Part::Paint(paint));
        }
        self.groups.push(sheds);
        let mut posts = Group::new();
        for i in -3..5 {
            let foot = V(f64::from(i) * 26.0 - 6.0, 4.2, -46.0);
            let head = foot + V(0.0, 19.0, 0.0);
            posts.beam(foot, head, 0.22, Part::Paint(V::all(0.10)));
            posts.beam(head + V(-1.2, 0.3, 0.0), head + V(1.2, 0.3, 0.0), 0.38, Part::Light(WARM * 14.0));
            self.lamps.push((head + V(0.0, -1.0, 0.0), WARM * 95.0));
        }
        self.groups.push(posts);
    }

    /// A gantry crane astride the quay's edge, its boom over the ship.
    fn crane(&mut self, x: f64, paint: Part) {
        let (front, back, half) = (-18.0, -40.0, 9.0);
        let (sill, boom, top) = (4.2, 47.0, 68.0);
        let mut legs = Group::new();
        for dx in [-half, half] {
            for z in [front, back] {
                legs.block(V(x + dx - 0.9, sill, z - 0.9), V(x + dx + 0.9, boom, z + 0.9), paint);
            }
            legs.beam(V(x + dx, 20.0, back), V(x + dx, boom, front), 0.45, paint);
            legs.block(V(x + dx - 0.7, 18.6, back), V(x + dx + 0.7, 20.0, front), paint);
        }
        for z in [front, back] {
            legs.block(V(x - half, sill + 1.0, z - 0.8), V(x + half, sill + 3.0, z + 0.8), paint);
            legs.block(V(x - half, boom - 2.0, z - 0.8), V(x + half, boom, z + 0.8), paint);
        }
        self.groups.push(legs);
        let mut arm = Group::new();
        for dx in [-3.0, 3.0] {
            arm.block(V(x + dx - 0.5, boom, -62.0), V(x + dx + 0.5, boom + 2.2, 24.0), paint);
            arm.beam(V(x + dx, boom, front), V(x, top, front - 3.0), 0.45, paint);
            for z in [20.0, 4.0] {
                arm.beam(V(x, top, front - 3.0), V(x + dx, boom + 2.0, z), 0.16, paint);
            }
            arm.beam(V(x, top, front - 3.0), V(x + dx, boom + 2.0, -58.0), 0.16, paint);
        }
        for i in 0..8 {
            let z = 23.0 - f64::from(i) * 12.0;
            arm.block(V(x - 3.0, boom + 0.3, z - 0.3), V(x + 3.0, boom + 0.9, z + 0.3), paint);
        }
        // Machine house, driver's cab, and a container on its ropes.
        arm.block(V(x - 4.0, boom + 2.2, -58.0), V(x + 4.0, boom + 8.0, -42.0), Part::Paint(WHITE * 0.7));
        arm.block(V(x - 1.6, boom - 4.0, 3.0), V(x + 1.6, boom - 1.0, 6.0), Part::Light(WARM * 0.9));
        arm.beam(V(x, top + 0.6, front - 3.0), V(x, top + 0.6, front - 3.0), 0.5, Part::Light(V(9.0, 1.6, 1.0)));
        self.groups.push(arm);
        if x > 0.0 && x < 60.0 {
            let mut load = Group::new();
            for (dx, z) in [(-5.0, -1.0), (5.0, -1.0), (-5.0, 1.0), (5.0, 1.0)] {
                load.beam(V(x + dx, 36.7, z), V(x + dx * 0.4, boom, z), 0.09, Part::Paint(V::all(0.05)));
            }
            load.block(V(x - 6.1, 34.0, -1.2), V(x + 6.1, 34.0 + TIER, 1.2), Part::Stack(34.0, 5, 3));
            self.groups.push(load);
        }
        self.lamps.push((V(x, boom - 3.0, 10.0), WARM * 130.0));
        self.lamps.push((V(x, boom - 3.0, -28.0), WARM * 110.0));
    }
}

/// One bay of stacks, higher amidships, ragged as loading goes on.
fn containers(bay: i64) -> Group {
    let mut group = Group::new();
    let x = -49.0 + 12.8 * bay as f64;
    for row in 0..ROWS {
        let z = (row as f64 - 0.5 * ROWS as f64) * 2.55;
        let full = [6, 7, 7, 6, 7, 5, 4, 3][bay as usize];
        let tiers = full - i64::from(hash(bay, row, 21) % 3) - i64::from(bay == 5) * i64::from(hash(row, 3, 5) % 3);
        let high = DECK + 1.0 + TIER * tiers.max(1) as f64;
        group.block(V(x, DECK + 1.0, z), V(x + 12.2, high, z + 2.45), Part::Stack(DECK + 1.0, bay, row));
    }
    group
}

/// The colours that containers have.
const COLOURS: [V; 9] = [
    V(0.50, 0.11, 0.06),
    V(0.06, 0.24, 0.42),
    V(0.70, 0.36, 0.06),
    V(0.05, 0.30, 0.27),
    V(0.58, 0.57, 0.53),
    V(0.33, 0.06, 0.08),
    V(0.10, 0.13, 0.28),
    V(0.62, 0.21, 0.05),
    V(0.22, 0.36, 0.16),
];

/// The colour, the own light and the turned normal of a surface where it was met.
pub fn surface(part: Part, p: V, n: V) -> (V, V, V) {
    let dark = V::all(0.0);
    match part {
        Part::Paint(paint) => (paint, dark, n),
        Part::Light(light) => (dark, light, n),
        Part::Side => (side(p, n), dark, n),
        Part::Stack(foot, bay, row) => {
            let (paint, n) = container(p, n, foot, bay, row);
            (paint, dark, n)
        }
        Part::Cabins => cabins(p, n),
        Part::Quay => {
            let stain = 0.75 + 0.25 * crate::vector::cloudy(p.0 * 0.21, p.2 * 0.21 + p.1, 4);
            let joint = if (p.0 / 6.0 - (p.0 / 6.0).floor()) < 0.02 { 0.6 } else { 1.0 };
            (V(0.26, 0.25, 0.24) * (stain * joint), dark, n)
        }
    }
}

/// Red below the water, dark above, a white line, and her name on either bow.
fn side(p: V, n: V) -> V {
    if n.1 > 0.9 {
        return V(0.20, 0.10, 0.07);
    }
    if p.1 < 1.3 {
        return V(0.42, 0.05, 0.035);
    }
    if p.1 < 1.55 || named(p) {
        return WHITE;
    }
    V(0.028, 0.055, 0.105)
}

/// BERTH, five columns of seven dots a letter, the highest bit at the left.
const NAME: [[u8; 7]; 5] = [
    [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
    [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
    [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
    [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
    [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
];

fn named(p: V) -> bool {
    let (dot, left, top) = (0.62, 24.0, 6.9);
    let (column, line) = (((p.0 - left) / dot).floor(), ((top - p.1) / dot).floor());
    if p.2 < 0.0 || !(0.0..30.0).contains(&column) || !(0.0..7.0).contains(&line) {
        return false;
    }
    let (column, line) = (column as usize, line as usize);
    column % 6 < 5 && NAME[column / 6][line] >> (4 - column % 6) & 1 == 1
}

/// Its colour, by tier, and the corrugation of its steel.
fn container(p: V, n: V, foot: f64, bay: i64, row: i64) -> (V, V) {
    let height = (p.1 - foot - 1e-6) / TIER;
    let tier = height.floor();
    let mixed = hash(bay * 31 + row, tier as i64, 8);
    let mut paint = COLOURS[mixed as usize % COLOURS.len()] * (0.75 + 0.4 * random(bay, row, tier as i64));
    if n.1.abs() > 0.5 {
        return (paint * 0.8, n);
    }
    let within = height - tier;
    // Posts and rails stand proud and catch no shade; the gap between tiers does.
    if !(0.03..0.975).contains(&within) {
        return (paint * 0.25, n);
    }
    let along = if n.2 != 0.0 { p.0 } else { p.2 };
    let wave = along * 2.2;
    let fold = wave - wave.floor();
    let frame = !(0.10..0.92).contains(&within);
    // A sign on some: a pale panel on the long side.
    let length = (p.0 + 49.0) / 12.8;
    let share = length - length.floor();
    if n.2 != 0.0 && mixed >> 12 & 3 == 0 && (0.30..0.62).contains(&share) && (0.38..0.68).contains(&within) {
        paint = paint.mix(V::all(0.72), 0.75);
    }
    if frame {
        return (paint, n);
    }
    let lean = if fold < 0.25 {
        0.55
    } else if (0.5..0.75).contains(&fold) {
        -0.55
    } else {
        0.0
    };
    let turned = if n.2 != 0.0 { n + V(lean, 0.0, 0.0) } else { n + V(0.0, 0.0, lean) };
    (paint * if lean == 0.0 { 1.0 } else { 0.9 }, turned.unit())
}

fn cabins(p: V, n: V) -> (V, V, V) {
    let dark = V::all(0.0);
    if n.1.abs() > 0.5 {
        return (WHITE * 0.8, dark, n);
    }
    let along = if n.2 != 0.0 { p.0 } else { p.2 } * 0.55 + 40.0;
    // The bridge has one band of glass all round.
    if p.1 > 35.0 {
        let glass = (35.9..37.0).contains(&p.1) && along - along.floor() > 0.06;
        return if glass { (V::all(0.02), WARM * 0.85, n) } else { (WHITE, dark, n) };
    }
    let deck = (p.1 - DECK) / 2.6;
    let (column, line) = (along.floor(), deck.floor());
    let window = (0.28..0.72).contains(&(along - column)) && (0.40..0.78).contains(&(deck - line));
    if !window {
        let edge = if deck - line < 0.05 { 0.6 } else { 1.0 };
        return (WHITE * edge, dark, n);
    }
    let lit = random(column as i64, line as i64, if n.2 != 0.0 { 61 } else { 62 });
    let light = if lit < 0.62 { WARM * (0.6 + 1.6 * lit) } else { dark };
    (V::all(0.03), light, n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ship_floats_in_front_of_the_quay() {
        let scene = Scene::harbour();
        let ahead = Ray::new(V(0.0, 4.0, 60.0), V(0.0, 0.0, -1.0));
        let hit = scene.hit(&ahead).expect("her side");
        assert_eq!((hit.part, hit.normal), (Part::Side, V(0.0, 0.0, 1.0)));
        assert!((hit.distance - 49.0).abs() < 1e-9);
        assert!(scene.blocks(&ahead));
    }

    #[test]
    fn nothing_stands_in_the_open_water() {
        let scene = Scene::harbour();
        assert!(scene.hit(&Ray::new(V(0.0, 1.0, 60.0), V(0.0, 0.0, 1.0))).is_none());
    }

    #[test]
    fn her_name_is_on_the_side_that_is_seen() {
        assert!(named(V(24.1, 6.8, 11.0)));
        assert!(!named(V(24.1, 6.8, -11.0)));
        assert!(!named(V(24.0 + 5.5 * 0.62, 6.8, 11.0)), "between the letters");
    }
}
