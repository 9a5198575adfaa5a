//! Writes what fuzzing begins with: `cargo run -p bts-tests --bin fuzz-seeds -- tests/fuzz/corpus`.
//! What is there already stays.

use std::fs;
use std::path::PathBuf;

use bts_tests::fuzz::seeds;
use clap::Parser;

/// Writes seeds for all fuzz targets.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder that has, or gets, a folder for each target.
    folder: PathBuf,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    for (target, name, bytes) in seeds::all() {
        let folder = arguments.folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
