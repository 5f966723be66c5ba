//! The `rekon` binary: hands the command line to `cli` and returns its exit code.

fn main() -> std::process::ExitCode {
    rekon::cli::main()
}
