//! Black-box tests of the built binary with real git and real processes, and the house rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "tests fail by panicking, and start the binary under test"
)]

mod acp;
mod agent_budgets;
mod agent_faults;
mod agent_world;
mod agents;
mod bad_input;
mod budgets;
mod choice;
mod commands;
mod config_keys;
mod crash;
mod env;
mod gateway;
mod gateway_guards;
mod gateway_wire;
mod gateway_world;
mod golden;
mod house;
mod limits_http;
mod misbehaviour;
mod prd_shapes;
mod resumes;
mod runs;
#[path = "../shared/mod.rs"]
mod shared;
mod upstream;
mod walls;
mod walls_hostile;
mod walls_work;
mod warden;
mod warden_limits;
