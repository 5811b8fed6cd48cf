//! Many tiles, one picture.

use std::fs;
use std::path::{Path, PathBuf};

use crate::picture::{Dots, Grid};
use crate::png;

/// Reads a grid's tiles from a folder and writes the whole picture. The tiles' size decides the picture's.
///
/// # Errors
/// Says which tile is missing, is no tile, or is of another size than the first.
pub fn join(folder: &Path, grid: Grid, out: &Path) -> Result<(), String> {
    let count = grid.columns * grid.rows;
    let tiles = (0..count).map(|tile| load(folder, tile)).collect::<Result<Vec<_>, _>>()?;
    let whole = assemble(&tiles, grid)?;
    fs::write(out, png::encode(&whole)).map_err(|e| format!("can't write {}: {e}", out.display()))
}

fn load(folder: &Path, tile: u32) -> Result<Dots, String> {
    let places = [folder.join(tile.to_string()).join("tile.png"), folder.join(format!("{tile}.png"))];
    let found: Option<&PathBuf> = places.iter().find(|place| place.is_file());
    let place = found.ok_or_else(|| format!("tile {tile} is missing: there is no {}", places[0].display()))?;
    let file = fs::read(place).map_err(|e| format!("can't read {}: {e}", place.display()))?;
    png::decode(&file).ok_or_else(|| format!("{} is not a tile of render's", place.display()))
}

fn assemble(tiles: &[Dots], grid: Grid) -> Result<Dots, String> {
    let (width, height) = (tiles[0].width, tiles[0].height);
    if let Some(odd) = tiles.iter().position(|tile| (tile.width, tile.height) != (width, height)) {
        return Err(format!("tile {odd} has another size than tile 0"));
    }
    let mut rgb = Vec::new();
    for row in tiles.chunks(grid.columns as usize) {
        for line in 0..height as usize {
            let span = 3 * width as usize;
            for tile in row {
                rgb.extend(&tile.rgb[line * span..(line + 1) * span]);
            }
        }
    }
    Ok(Dots { width: width * grid.columns, height: height * grid.rows, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::draw;

    const GRID: Grid = Grid { columns: 2, rows: 3, size: 24 };

    #[test]
    fn joined_tiles_are_the_picture_drawn_whole() {
        let tiles: Vec<Dots> = (0..6).map(|tile| draw(GRID, tile, 1).expect("a tile of the grid")).collect();
        let whole = draw(Grid { columns: 1, rows: 1, ..GRID }, 0, 1).expect("the only tile");
        assert_eq!(assemble(&tiles, GRID), Ok(whole));
    }

    #[test]
    fn a_tile_of_another_size_is_refused() {
        let mut tiles = vec![Dots { width: 1, height: 1, rgb: vec![0; 3] }; 6];
        tiles[4] = Dots { width: 2, height: 1, rgb: vec![0; 6] };
        assert_eq!(assemble(&tiles, GRID), Err("tile 4 has another size than tile 0".to_owned()));
    }
}
