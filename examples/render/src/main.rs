//! Draws one tile of a picture; joins the tiles afterwards.
//!
//! As a job: `render --grid 4x4 --size 1024` draws the tile whose number is its task's, and writes `tile.png` into the
//! output folder. Afterwards, at home: `render --join FOLDER --out picture.png`, for a folder that holds `0/tile.png`,
//! `1/tile.png`, and so on (or `0.png`, `1.png`).

mod join;
mod picture;
mod png;
mod scene;
mod shape;
mod sky;
mod vector;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use picture::Grid;

const USAGE: &str = "usage: render [--grid 4x4] [--size 1024] [--samples 4] [--tile N]
       render --join FOLDER --out FILE [--grid 4x4]";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Wish {
    grid: Grid,
    samples: u32,
    tile: Option<u32>,
    join: Option<PathBuf>,
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("render: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let wish = read(env::args().skip(1))?;
    match (&wish.join, &wish.out) {
        (Some(folder), Some(out)) => {
            join::join(folder, wish.grid, out)?;
            Ok(out.display().to_string())
        }
        (None, None) => draw(&wish),
        _ => Err(format!("--join and --out go together\n{USAGE}")),
    }
}

fn draw(wish: &Wish) -> Result<String, String> {
    let tile = match wish.tile {
        Some(tile) => tile,
        None => own_number(|name| env::var(name).ok())?,
    };
    let dots = picture::draw(wish.grid, tile, wish.samples).map_err(|refused| refused.to_string())?;
    let folder = env::var("IEXEC_OUT").unwrap_or_else(|_| "/iexec_out".to_owned());
    let file = Path::new(&folder).join("tile.png");
    std::fs::write(&file, png::encode(&dots)).map_err(|e| format!("can't write {}: {e}", file.display()))?;
    Ok(format!("tile {tile} of {}x{}: {}x{} dots", wish.grid.columns, wish.grid.rows, dots.width, dots.height))
}

/// The number of the task that this run is: its element of the job's list if it has one, else its index.
fn own_number(variable: impl Fn(&str) -> Option<String>) -> Result<u32, String> {
    let names = ["BERTH_EACH", "BERTH_TASK_INDEX", "IEXEC_TASK_INDEX"];
    let Some((name, value)) = names.iter().find_map(|name| Some((name, variable(name)?))) else {
        return Err(format!("which tile? Neither --tile nor {} is given\n{USAGE}", names.join(", ")));
    };
    value.parse().map_err(|_| format!("{name} should be a tile's number, and is '{value}'"))
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
    let grid = Grid { columns: 4, rows: 4, size: 1024 };
    let mut wish = Wish { grid, samples: 4, tile: None, join: None, out: None };
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("'{option}' lacks its value\n{USAGE}"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{option} '{value}' is not a number\n{USAGE}"));
        match option.as_str() {
            "--grid" => (wish.grid.columns, wish.grid.rows) = tiles(&value)?,
            "--size" => wish.grid.size = number()?,
            "--samples" => wish.samples = number()?.clamp(1, 16),
            "--tile" => wish.tile = Some(number()?),
            "--join" => wish.join = Some(value.into()),
            "--out" => wish.out = Some(value.into()),
            _ => return Err(format!("'{option}' is not an option\n{USAGE}")),
        }
    }
    wish.grid = wish.grid.checked().map_err(|refused| refused.to_string())?;
    Ok(wish)
}

fn tiles(value: &str) -> Result<(u32, u32), String> {
    let numbers = value.split_once('x').and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
    match numbers {
        Some((columns, rows)) if (1..=64).contains(&columns) && (1..=64).contains(&rows) => Ok((columns, rows)),
        _ => Err(format!("--grid '{value}' should be like 4x4, with at most 64 each way\n{USAGE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish, String> {
        read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_grid_and_a_size_are_read() {
        let wish = wish("--grid 2x8 --size 64 --tile 3").expect("all known");
        assert_eq!((wish.grid, wish.tile), (Grid { columns: 2, rows: 8, size: 64 }, Some(3)));
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (line, reason) in [
            ("--grid 4", "should be like 4x4"),
            ("--grid 0x4", "should be like 4x4"),
            ("--size many", "is not a number"),
            ("--size", "lacks its value"),
            ("--colour red", "is not an option"),
            ("--size 1001", "can't be cut"),
        ] {
            let message = wish(line).expect_err(line);
            assert!(message.contains(reason), "{line}: {message}");
        }
    }

    #[test]
    fn the_element_of_the_list_goes_before_the_index() {
        let with = |set: &'static [(&str, &str)]| {
            own_number(move |name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(with(&[("BERTH_EACH", "7"), ("BERTH_TASK_INDEX", "2")]), Ok(7));
        assert_eq!(with(&[("IEXEC_TASK_INDEX", "5")]), Ok(5));
        assert!(with(&[("BERTH_EACH", "seven")]).is_err());
        assert!(with(&[]).is_err());
    }
}
