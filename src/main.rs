//! The binary: a warden, or the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == maestro_ci::sandbox::WARDEN) {
        return maestro_ci::sandbox::warden_main();
    }
    maestro_ci::cli::main()
}
