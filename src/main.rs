//! The binary: the command line, or one of the small helpers that it starts itself as.

use std::process::ExitCode;

fn main() -> ExitCode {
    use maestro_ci::{agent, cli, sandbox};

    // Before anything else: whoever shares our user must not read our environment.
    sandbox::harden_self();
    let hidden = std::env::args_os().nth(1);
    match hidden.as_ref().and_then(|arg| arg.to_str()) {
        Some(sandbox::WARDEN) => sandbox::warden_main(),
        Some(sandbox::WALL) => sandbox::wall_main(),
        Some(agent::ACP) => agent::acp_main(),
        _ => cli::main(),
    }
}
