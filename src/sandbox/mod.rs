//! Where processes are started and ended. Every agent, every gate and `workspace.setup` runs under a warden of its
//! own (a hidden subcommand of this binary); the orchestrator only holds the pipe that keeps it alive.
//!
//! In: an `Order`. Out: lines of JSON as they come, then a `Report`. It must not know what an agent or a gate is.
//!
//! The orchestrator's side is `running`, with `survivors` for what a lost warden leaves behind. The warden's side is
//! `warden`, which starts a `child` and sets a `watch` over it: `stream`, `lines` and `capped` take its output,
//! `meter` and `disk` measure it, `limits` says what is too much, `tree` and `proc` find and end its processes.
//! `walls`, `reach`, `wall` and `syscalls` keep it in, `home` and `env` give it what it needs to work there.

mod capped;
mod child;
mod disk;
mod env;
mod files;
mod home;
mod limits;
mod lines;
mod meter;
mod proc;
mod reach;
mod running;
mod spec;
mod stream;
mod survivors;
mod syscalls;
mod tree;
mod wall;
mod walls;
mod warden;
mod watch;

pub use env::{child_env, tokens_among};
pub use files::read_tail;
pub use home::{Home, make_home};
pub use reach::standard_walls;
pub use running::{Stopper, WARDEN, Warden};
pub use spec::{Limits, Order, Report, Walls};
pub use survivors::{end_lost, wait_for_survivors};
pub use wall::{WALL, wall_main};
pub use walls::{Level, describe, harden_self, in_force, level, why_not};
pub use warden::main as warden_main;
