//! Every flag there is. Each flag of a run has an environment variable `MAESTRO_CI_…`; flags win over variables, and an
//! empty variable is none.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::flags_forge::{ForgeArgs, PublishArgs};
use super::flags_init::InitArgs;
use super::flags_output::OutputArgs;

/// Exit codes, as `--help` shows them; a test holds them against the enum.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 passed   1 failed   2 usage   3 invalid PRD   4 not approved   5 budget   6 setup   7 agent
  8 report   9 rolled back   70 internal   130, 143 interrupted";

/// Turns an approved PRD into tested, review-ready code, with nobody watching.
#[derive(Debug, Parser)]
#[command(name = "maestro-ci", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do; without it, `run`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// Flags of every subcommand.
    #[command(flatten)]
    pub global: Global,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a PRD, or go on with its unfinished session (the default)
    Run(RunArgs),
    /// Validate PRD, configuration, repository and agent; change nothing
    Check(RunArgs),
    /// Show the plan
    Plan(PlanArgs),
    /// Go on with a session that was interrupted or ended resumable (exit 5, 6, 7, 130, 143)
    Resume(ResumeArgs),
    /// Show a session's progress with the execution graph
    Status(StatusArgs),
    /// List sessions
    Sessions(SessionsArgs),
    /// Rebuild a report from a session's journal
    Report(ReportArgs),
    /// Put a session's result branch back to a checkpoint
    Rollback(RollbackArgs),
    /// Set a PRD's status to approved and bind it to its content
    Approve(ApproveArgs),
    /// Remove old sessions and their workspaces
    Clean(CleanArgs),
    /// Tell forge and CI of a finished run: comment, check, pull request, outputs, job summary; exits 0 where it could
    Publish(PublishArgs),
    /// A complete run on an embedded example; needs no key and no network
    Demo(DemoArgs),
    /// Write a configuration, a PRD's draft and a pipeline for CI, filled in from the repository
    Init(InitArgs),
    /// Query a session's journal
    Log(LogArgs),
    /// Print a JSON Schema
    Schema(SchemaArgs),
    /// Print a completion script
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Flags that every subcommand takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The repository [default: the one around the current directory]
    #[arg(long, global = true, value_name = "DIR", env = "MAESTRO_CI_REPO")]
    pub repo: Option<PathBuf>,
    /// More of the log; twice for all of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Errors only
    #[arg(short, long, global = true, env = "MAESTRO_CI_QUIET")]
    pub quiet: bool,
    /// Form of the diagnostic log
    #[arg(long, global = true, value_enum, default_value = "text", env = "MAESTRO_CI_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// How the log looks.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Form of the diagnostic log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Flags of a run.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// The PRD
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_PRD")]
    pub prd: Option<PathBuf>,
    /// Agent: claude, codex, gemini, opencode, qwen, one of `agents` in the configuration, or auto (the first that
    /// works here)
    #[arg(long, value_name = "NAME", env = "MAESTRO_CI_AGENT")]
    pub agent: Option<String>,
    /// Shell command that does a task; the prompt comes on its standard input
    #[arg(long, value_name = "COMMAND", env = "MAESTRO_CI_AGENT_CMD")]
    pub agent_cmd: Option<String>,
    /// Attempts and gates at a time
    #[arg(short, long, value_name = "N", env = "MAESTRO_CI_JOBS")]
    pub jobs: Option<String>,
    /// Longest active time of the session (45m, 1h30m, 90s)
    #[arg(long, value_name = "TIME", env = "MAESTRO_CI_MAX_DURATION")]
    pub max_duration: Option<String>,
    /// Most tokens (500k, 2M)
    #[arg(long, value_name = "N", env = "MAESTRO_CI_MAX_TOKENS")]
    pub max_tokens: Option<String>,
    /// Most model calls
    #[arg(long, value_name = "N", env = "MAESTRO_CI_MAX_API_CALLS")]
    pub max_api_calls: Option<String>,
    /// Most money (10usd, 0.5)
    #[arg(long, value_name = "USD", env = "MAESTRO_CI_MAX_COST")]
    pub max_cost: Option<String>,
    /// Most memory that one agent or gate may hold with all its processes (512MiB, 4GiB)
    #[arg(long, value_name = "SIZE", env = "MAESTRO_CI_MAX_MEMORY")]
    pub max_memory: Option<String>,
    /// Model that the default agent is asked to use; a command has none
    #[arg(long, value_name = "NAME", env = "MAESTRO_CI_MODEL")]
    pub model: Option<String>,
    /// Write the JUnit report here, too
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_JUNIT")]
    pub junit: Option<PathBuf>,
    /// Write the JSON report here, too
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_JSON")]
    pub json: Option<PathBuf>,
    /// Write the Markdown report here, too
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_MARKDOWN")]
    pub markdown: Option<PathBuf>,
    /// Write the HTML report here, too: one file to read in a browser
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_HTML")]
    pub html: Option<PathBuf>,
    /// Write the findings as SARIF here, for code scanning
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_SARIF")]
    pub sarif: Option<PathBuf>,
    /// Write verdict, branch and spend as variables here, for GitLab's `artifacts:reports:dotenv`
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_DOTENV")]
    pub dotenv: Option<PathBuf>,
    /// Configuration file [default: .flow/maestro/config.yaml of the base commit]
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set a key of the configuration; may be repeated (the variable sets one)
    #[arg(long, value_name = "KEY=VALUE", env = "MAESTRO_CI_SET")]
    pub set: Vec<String>,
    /// Settings that a resume takes over; its own flags come after them
    #[arg(skip)]
    pub set_before: Vec<String>,
    /// Commit to start from [default: HEAD]
    #[arg(long, value_name = "REV", env = "MAESTRO_CI_BASE")]
    pub base: Option<String>,
    /// Result branch [default: maestro/<feature>]
    #[arg(long, value_name = "NAME", env = "MAESTRO_CI_BRANCH")]
    pub branch: Option<String>,
    /// Directory of workspaces [default: the user's cache directory]
    #[arg(long, value_name = "DIR", env = "MAESTRO_CI_WORK_DIR")]
    pub work_dir: Option<PathBuf>,
    /// Fail where no gate passed
    #[arg(long, env = "MAESTRO_CI_REQUIRE_GATES")]
    pub require_gates: bool,
    /// Refuse a PRD with hidden characters or HTML comments
    #[arg(long, env = "MAESTRO_CI_STRICT_PRD")]
    pub strict_prd: bool,
    /// Run agents and gates without walls (isolation level L0)
    #[arg(long, env = "MAESTRO_CI_ALLOW_UNSANDBOXED")]
    pub allow_unsandboxed: bool,
    /// Show plan, budget and prompts; run nothing
    #[arg(long, env = "MAESTRO_CI_DRY_RUN")]
    pub dry_run: bool,
    /// Run although the PRD is implemented already
    #[arg(long, env = "MAESTRO_CI_FORCE")]
    pub force: bool,
    /// Start anew although an unfinished session could go on
    #[arg(long, env = "MAESTRO_CI_FRESH")]
    pub fresh: bool,
    /// What is told to the forge
    #[command(flatten)]
    pub forge: ForgeArgs,
}

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Flags of a run.
    #[command(flatten)]
    pub run: RunArgs,
    /// Form of the plan
    #[arg(long, value_enum, default_value = "text")]
    pub format: PlanFormat,
}

/// Form of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// A table.
    Text,
    /// The contract for scripts.
    Json,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
}

/// Flags of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The session [default: the latest]
    pub session: Option<String>,
    /// Flags of a run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The session [default: the latest]
    pub session: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `sessions`.
#[derive(Debug, Args)]
pub struct SessionsArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The session [default: the latest]
    pub session: Option<String>,
    /// Form of the report
    #[arg(long, value_enum, default_value = "markdown")]
    pub format: ReportFormat,
}

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// JUnit XML.
    Junit,
    /// The versioned JSON report.
    Json,
    /// The final report.
    Markdown,
    /// One page for a browser.
    Html,
    /// Findings for code scanning, SARIF 2.1.0.
    Sarif,
    /// The text of the comment on a pull request.
    Comment,
}

/// Flags of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The session [default: the latest]
    pub session: Option<String>,
    /// The checkpoint [default: the one before the latest]
    #[arg(long, value_name = "CHECKPOINT")]
    pub to: Option<u32>,
}

/// Flags of `approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The PRD
    #[arg(long, value_name = "FILE", env = "MAESTRO_CI_PRD")]
    pub prd: PathBuf,
}

/// Flags of `clean`.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Remove sessions older than this (14d, 12h)
    #[arg(long, value_name = "AGE", default_value = "14d")]
    pub older_than: String,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Directory for the example repository [default: a new temporary one]
    pub dir: Option<PathBuf>,
    /// Run agents and gates without walls (isolation level L0)
    #[arg(long, env = "MAESTRO_CI_ALLOW_UNSANDBOXED")]
    pub allow_unsandboxed: bool,
}

/// Flags of `log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The session [default: the latest]
    pub session: Option<String>,
    /// Only records of one kind
    #[arg(long, value_enum)]
    pub kind: Option<LogKind>,
    /// Only records about one task
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Only records from then on: a moment (RFC 3339) or how long ago (10m, 2h)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only records up to then: a moment (RFC 3339) or how long ago (10m, 2h)
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// As JSON, one record a line; a text of more than 4 KiB is cut, and says by how much
    #[arg(long)]
    pub json: bool,
}

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogKind {
    /// Decisions.
    Decision,
    /// Faults.
    Fault,
    /// Gates.
    Gate,
    /// Usage and limits.
    Spend,
    /// Attempts and tasks.
    Task,
}

/// Flags of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// config.yaml.
    Config,
    /// A PRD, as it was read.
    Prd,
    /// A plan.
    Plan,
    /// report.json.
    Report,
    /// A record of the journal.
    Event,
}
