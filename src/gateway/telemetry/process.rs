//! Figures of this process from `/proc/self`; absent where there is none.

use std::fs;
use std::sync::OnceLock;

/// What Prometheus conventionally shows of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) start_seconds: f64,
    pub(super) resident_bytes: f64,
    pub(super) virtual_bytes: f64,
    pub(super) threads: f64,
    pub(super) open_fds: f64,
    pub(super) max_fds: f64,
}

impl Process {
    /// Reads them; `None` on a system without `/proc`.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program may hold blanks and brackets; the last bracket ends it.
        let fields: Vec<f64> = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        // Field numbers of proc(5), of which the first three are gone.
        let field = |number: usize| fields.get(number - 4).copied().unwrap_or(0.0);
        let ticks = tick_rate();
        Some(Self {
            cpu_seconds: (field(14) + field(15)) / ticks,
            start_seconds: boot_seconds() + field(22) / ticks,
            resident_bytes: field(24) * page_bytes(),
            virtual_bytes: field(23),
            threads: field(20),
            open_fds: fs::read_dir("/proc/self/fd").map_or(0.0, |fds| fds.count() as f64),
            max_fds: max_fds(),
        })
    }
}

/// Clock ticks a second and bytes a page, as the auxiliary vector of the process says: AT_CLKTCK is
/// 17, AT_PAGESZ is 6 (getauxval(3)).
fn auxiliary(wanted: u64) -> Option<f64> {
    let bytes = fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    bytes.chunks_exact(2 * size_of::<usize>()).find_map(|pair| {
        let (kind, value) = pair.split_at(size_of::<usize>());
        (word(kind)? as u64 == wanted).then_some(word(value)? as f64)
    })
}

fn tick_rate() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| auxiliary(17).unwrap_or(100.0))
}

fn page_bytes() -> f64 {
    static BYTES: OnceLock<f64> = OnceLock::new();
    *BYTES.get_or_init(|| auxiliary(6).unwrap_or(4_096.0))
}

/// Start of the machine in Unix seconds; read once, so that the start of the process stays put.
fn boot_seconds() -> f64 {
    static BOOT: OnceLock<f64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
        line.and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0)
    })
}

fn max_fds() -> f64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(f64::INFINITY)
}
