//! What it ran on, and what processes have used, as the kernel says it in `/proc`.

use std::fs;

use crate::{cli::exit::Failure, store::Store};

/// Milliseconds in a tick of `/proc/PID/stat`: USER_HZ is 100 on every Linux that Rust runs on.
const TICK_MS: u64 = 10;

/// The machine and the programs.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Machine {
    /// Logical cores this process may use.
    pub(super) cores: usize,
    /// The processor's name.
    pub(super) processor: String,
    /// Linux release.
    pub(super) kernel: String,
    /// The compiler.
    pub(super) rustc: String,
    /// Optimised?
    pub(super) is_release: bool,
    /// This program.
    pub(super) rekon: &'static str,
    /// The database server.
    pub(super) postgres: String,
    /// Its settings that matter.
    pub(super) settings: Vec<(&'static str, String)>,
}

/// Asks everybody.
pub(super) async fn describe(store: &Store) -> Result<Machine, Failure> {
    let mut settings = Vec::new();
    for name in ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size"] {
        settings.push((name, store.setting(name).await?));
    }
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processor = line("/proc/cpuinfo")
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |name| name.trim_start_matches([' ', '\t', ':']).to_owned());
    Ok(Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor,
        kernel: line("/proc/sys/kernel/osrelease"),
        rustc: compiler(),
        is_release: !cfg!(debug_assertions),
        rekon: env!("CARGO_PKG_VERSION"),
        postgres: store.setting("server_version").await?,
        settings,
    })
}

/// The compiler leaves its name in the program's comment section; a stripped one leaves the oldest that would do.
fn compiler() -> String {
    let least = concat!("at least ", env!("CARGO_PKG_RUST_VERSION")).to_owned();
    let Ok(program) = fs::read("/proc/self/exe") else { return least };
    // In two pieces, so that this very text is not what is found.
    let mark = ["rustc ", "version "].concat();
    let found = program.windows(mark.len()).rposition(|window| window == mark.as_bytes());
    let said =
        found.and_then(|at| program.get(at..)).and_then(|rest| rest.split(|byte| matches!(byte, 0 | b')')).next());
    said.and_then(|s| std::str::from_utf8(s).ok()).map_or(least, |s| s.trim_start_matches(&mark).replace(" (", " "))
}

/// CPU milliseconds of a process so far, user and system, with those of ended children it has waited for.
fn cpu_ms(stat: &str) -> u64 {
    // Fields are counted behind the name, which may hold blanks: utime, stime, cutime, cstime are 14 to 17.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum::<u64>().saturating_mul(TICK_MS)
}

fn parent(stat: &str) -> Option<u32> {
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

/// CPU of one process.
pub(super) fn cpu_of(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(0, |stat| cpu_ms(&stat))
}

/// CPU of a process and its children: a Postgres server and its backends.
pub(super) fn cpu_of_family(pid: u32) -> u64 {
    let mut sum = cpu_of(pid);
    let Ok(entries) = fs::read_dir("/proc") else { return sum };
    for entry in entries.flatten() {
        if let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Ok(stat) = fs::read_to_string(format!("/proc/{child}/stat"))
            && parent(&stat) == Some(pid)
        {
            sum = sum.saturating_add(cpu_ms(&stat));
        }
    }
    sum
}

/// Memory of a process in kB: what it holds now (`VmRSS`) or held at most (`VmHWM`).
pub(super) fn memory_kb(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 7 1 1 0 -1 0 0 0 0 0 100 20 3 4 20 0 1 0 5";
        assert_eq!(cpu_ms(stat), 1270);
        assert_eq!(parent(stat), Some(7));
    }
}
