//! Lets one agent's queue pace the agent in the next row.

use pulsegate_misbehaving::{Settings, hand_made};
use pulsegate_sdk::Config;

hand_made! {
    name: "mixes-rows",
    suggest_rows: suggest_rows,
}

/// Rows of 17 numbers, one memory column; the eighth is the queue.
fn suggest_rows(_: &Config<Settings>, rows: Vec<f64>) -> Vec<f64> {
    let mut last = 0.0;
    let answer = |row: &[f64]| {
        let interval_ms = if last > 0.0 { 10_000.0 } else { 30_000.0 };
        last = row[7];
        [interval_ms, 0.0, 0.0]
    };
    rows.chunks(17).flat_map(answer).collect()
}
