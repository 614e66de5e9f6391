//! Draws the Mandelbrot set, tile by tile in worker processes, and writes a PNG.
//!
//! ```text
//! cargo run --release --example render [FILE] [--width N] [--workers N] [--kill]
//! ```
//!
//! Tiles differ a lot in what they cost, so they are taken as they come (`imap_unordered`). `--kill` ends a worker at every
//! twentieth tile: with `retry` the picture is complete all the same, to the last byte.

use indicatif::ProgressBar;
use offspring::Pool;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const TILE: u32 = 64;
const MOST_TURNS: u32 = 1000;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Tile {
    x: u32,
    y: u32,
    /// Of the whole picture.
    width: u32,
    height: u32,
}

/// Three bytes for each of its points, in rows.
fn draw(tile: Tile) -> (Tile, Vec<u8>) {
    let mut colours = Vec::with_capacity((3 * TILE * TILE) as usize);
    for y in tile.y..(tile.y + TILE).min(tile.height) {
        for x in tile.x..(tile.x + TILE).min(tile.width) {
            let re = f64::from(x) / f64::from(tile.width) * 3.0 - 2.2;
            let im = (f64::from(y) - f64::from(tile.height) / 2.0) / f64::from(tile.width) * 3.0;
            colours.extend(colour(turns(re, im)));
        }
    }
    (tile, colours)
}

/// After how many turns the point leaves; `None` if it stays.
fn turns(re: f64, im: f64) -> Option<u32> {
    let (mut x, mut y) = (0.0_f64, 0.0_f64);
    (0..MOST_TURNS).find(|_| {
        (x, y) = (x * x - y * y + re, 2.0 * x * y + im);
        x * x + y * y > 4.0
    })
}

fn colour(turns: Option<u32>) -> [u8; 3] {
    let Some(turns) = turns else { return [0; 3] };
    let t = f64::from(turns).sqrt() / f64::from(MOST_TURNS).sqrt();
    [t.powf(0.4), t.powf(0.8), 1.0 - t].map(|part| (255.0 * part) as u8)
}

struct Arguments {
    file: PathBuf,
    width: u32,
    workers: usize,
    kill: bool,
}

fn arguments() -> Result<Arguments, String> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let file = std::env::temp_dir().join("offspring-render.png");
    let mut found = Arguments { file, width: 1200, workers: cores, kill: false };
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        let mut number = |flag| {
            let number = rest.next().and_then(|text| text.parse::<u32>().ok()).filter(|n| *n > 0);
            number.ok_or(format!("{flag} wants a number, 1 or more"))
        };
        match argument.as_str() {
            "--width" => found.width = number("--width")?,
            "--workers" => found.workers = number("--workers")? as usize,
            "--kill" => found.kill = true,
            flag if flag.starts_with('-') => {
                return Err(format!(
                    "unknown flag {flag}; there are --width N, --workers N, --kill"
                ));
            }
            file => found.file = file.into(),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    let _main = offspring::init();
    match arguments().map_err(Into::into).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("render: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { file, width, workers, kill } = arguments;
    let (begun, height) = (Instant::now(), (width * 2).div_ceil(3));
    let pool = Pool::builder().workers(workers).retry(100).build()?;
    let columns = (0..width).step_by(TILE as usize);
    let tiles: Vec<Tile> = columns
        .flat_map(|x| (0..height).step_by(TILE as usize).map(move |y| Tile { x, y, width, height }))
        .collect();
    let bar = ProgressBar::new(tiles.len() as u64);
    let mut picture = vec![0; (3 * width * height) as usize];
    let mut killed = 0;
    for (number, drawn) in pool.imap_unordered(draw, tiles).enumerate() {
        let (tile, colours) = drawn?;
        let wide = 3 * (tile.x + TILE).min(width).saturating_sub(tile.x) as usize;
        for (row, bytes) in (tile.y..).zip(colours.chunks(wide)) {
            let at = 3 * (row * width + tile.x) as usize;
            picture[at..at + wide].copy_from_slice(bytes);
        }
        if kill && number % 20 == 0 {
            killed += u32::from(kill_one(&pool));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(&file)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&picture)?;
    let took = begun.elapsed().as_secs_f64();
    println!("{}: {width} x {height}, {took:.2} s with {workers} workers", file.display());
    if kill {
        println!("{killed} workers killed, {} tiles drawn again", pool.stats().retried);
    }
    Ok(())
}

/// Ends a worker that is at work, by its number, as another user's `kill` would.
fn kill_one(pool: &Pool) -> bool {
    let workers = pool.stats().workers;
    let Some(busy) = workers.iter().find(|worker| worker.busy) else { return false };
    let kill = std::process::Command::new("kill").args(["-9", &busy.pid.to_string()]).status();
    kill.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_is_black_and_outside_is_not() {
        assert_eq!(colour(turns(0.0, 0.0)), [0; 3]);
        assert_eq!(turns(2.0, 2.0), Some(0));
        let tile = Tile { x: 64, y: 0, width: 100, height: 30 };
        assert_eq!(draw(tile).1.len(), 3 * 36 * 30, "cut at the edges");
    }
}
