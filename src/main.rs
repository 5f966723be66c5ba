//! The `rekon` binary: hands the command line to `cli` and returns its exit code.

/// Answers are settled some hundred at a time; the system's allocator takes and gives back their thousands of small pieces one by one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rekon::cli::main()
}
