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
mod action;
mod agent_budgets;
mod agent_faults;
mod agent_world;
mod agents;
mod bad_input;
mod budgets;
mod cancel;
mod choice;
mod ci_templates;
mod commands;
mod config_keys;
mod crash;
mod env;
mod forge_app;
mod forge_comment;
mod forge_delivery;
mod forge_faults;
mod forge_github;
mod forge_gitlab;
mod forge_publish;
mod forge_push;
mod forge_server;
mod forge_world;
mod gateway;
mod gateway_guards;
mod gateway_wire;
mod gateway_world;
mod golden;
mod house;
mod html;
mod init;
mod job;
mod limits_http;
mod misbehaviour;
mod prd_shapes;
mod redaction;
mod reports;
mod resumes;
mod runner;
#[path = "../shared/runner_line.rs"]
mod runner_line;
mod runs;
#[path = "../shared/mod.rs"]
mod shared;
mod terminal;
mod upstream;
mod walls;
mod walls_hostile;
mod walls_work;
mod warden;
mod warden_limits;
