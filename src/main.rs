//! The `rekon` binary: hands the command line to `cli` and returns its exit code.

/// A day's answers are many small strings in groups of hundreds, on which the system's allocator spends a third of the
/// worker's time, and musl's more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rekon::cli::main()
}
