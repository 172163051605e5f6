//! The binary: the command line, or one of the small helpers that it starts itself as.

use std::process::ExitCode;

fn main() -> ExitCode {
    use maestro_ci::git::patience;
    use maestro_ci::{agent, cli, sandbox};

    let hidden = std::env::args_os().nth(1);
    let hidden = hidden.as_ref().and_then(|arg| arg.to_str());
    // Before anything else: whoever shares our user must not read our environment. A wall has that of its child, and
    // its warden may not set it up for the case that memory runs out where it cannot look.
    if hidden != Some(sandbox::WALL) {
        sandbox::harden_self();
    }
    match hidden {
        Some(sandbox::WARDEN) => sandbox::warden_main(),
        Some(sandbox::WALL) => sandbox::wall_main(),
        Some(patience::HELPER) => patience::helper_main(),
        Some(agent::ACP) => agent::acp_main(),
        _ => cli::main(),
    }
}
