//! Flags that say how the log looks.

use clap::{Args, ValueEnum};

/// Flags of the log's look.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// What is shown of a run while it goes on: bars below the log, its lines alone, or only how it ended
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "HOW", env = "MAESTRO_CI_PROGRESS")]
    pub progress: ProgressMode,
    /// Colours in the log [auto: on a terminal, unless NO_COLOR is set]
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", env = "MAESTRO_CI_COLOR")]
    pub color: ColorMode,
}

/// What is shown of a run while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, unless in CI; lines elsewhere
    Auto,
    /// Bars on every terminal
    Bar,
    /// Lines only
    Plain,
    /// Failures and how it ended
    None,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorMode {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
