//! Writes the golden vectors of ADR 0001 to stdout:
//! `cargo run -p berth-protocol --example golden > contracts/test/vectors/protocol.json`.

mod vectors;

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let text = vectors::text();
    std::io::stdout().lock().write_all(text.as_bytes())
}
