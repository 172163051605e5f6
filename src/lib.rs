//! maestro-ci: turns an approved PRD into tested, review-ready code in CI, with nobody watching.
//!
//! The map of the house; dependencies point down the list, and `tests/it/house.rs` holds the walls:
//!
//! * [`cli`] turns flags into requests and results into text and exit codes.
//! * [`driver`] is the loop: input, step, append and sync, apply, start effects.
//! * [`agent`], [`gateway`], [`workspace`], [`gate`], [`forge`], [`report`] each do one kind of work for it.
//! * [`plan`] makes a plan of a PRD; [`journal`] keeps what happened.
//! * [`prd`] and [`config`] read what people write.
//! * [`git`], [`sandbox`], [`text`] wrap git, processes and untrusted text.
//! * [`core`] decides everything and touches nothing.
//!
//! A pure core decides; one shell acts; every report is a function of the journal.

pub mod agent;
pub mod cli;
pub mod config;
pub mod core;
pub mod driver;
pub mod forge;
pub mod gate;
pub mod gateway;
pub mod git;
pub mod journal;
pub mod plan;
pub mod prd;
pub mod report;
pub mod sandbox;
pub mod text;
pub mod workspace;
