//! Flags of `init`. In: arguments. Out: which files it is to write.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Write a pipeline for this CI, too
    #[arg(long, value_enum, value_name = "CI")]
    pub ci: Option<Template>,
    /// The PRD that the pipeline runs; a draft is written where there is none [default: the one that is there, else
    /// docs/prd.md]
    #[arg(long, value_name = "FILE")]
    pub prd: Option<PathBuf>,
    /// The agent [default: the first that is installed here, else claude]
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Where the action is, as GitHub workflows name it: OWNER/REPOSITORY@COMMIT
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Write over a configuration and a pipeline that are there; a PRD is never touched
    #[arg(long)]
    pub force: bool,
}

/// A pipeline that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// GitHub Actions, one job.
    Github,
    /// GitHub Actions; the job with the agents has no token that can write.
    GithubTwoJobs,
    /// GitHub Actions, each night until the PRD is done.
    GithubNightly,
    /// GitHub Actions, when an approved PRD lands on the default branch.
    GithubOnApproval,
    /// GitLab CI.
    Gitlab,
    /// A declarative Jenkins pipeline.
    Jenkins,
}
