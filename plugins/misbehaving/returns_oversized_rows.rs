//! Answers with far more numbers than it was asked for.

use pulsegate_misbehaving::{Settings, hand_made};
use pulsegate_sdk::Config;

hand_made! {
    name: "returns-oversized-rows",
    suggest_rows: suggest_rows,
}

/// Answers as it should while no agent reports a queue: rows of 17 numbers, one memory column.
fn suggest_rows(config: &Config<Settings>, rows: Vec<f64>) -> Vec<f64> {
    let bad = config.settings.always || rows.chunks(17).any(|row| row[7] > 0.0);
    let good = rows.chunks(17).flat_map(|_| [30_000.0, 0.0, 0.0]);
    if bad { vec![0.0; 100_000] } else { good.collect() }
}
