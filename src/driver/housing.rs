//! What every process tree gets besides its work: a private home, an environment, walls, limits.

use std::path::{Path, PathBuf};

use super::world::{Trouble, World};
use crate::core::Settings;
use crate::git::patience;
use crate::sandbox::{self, Home, Limits, Walls};

/// The housing of one process tree.
pub(super) struct Housing {
    /// Its home and temporary directory.
    pub home: Home,
    /// Its environment, before its own variables.
    pub env: Vec<(String, String)>,
    /// Its walls; none at level 0.
    pub walls: Option<Walls>,
    /// Variable of its environment that nobody else has, as `NAME=value`.
    pub mark: String,
}

/// A tree that wants housing.
pub(super) struct Tenant<'a> {
    /// Name of its workspace.
    pub name: &'a str,
    /// Where it works.
    pub tree: &'a Path,
    /// Further paths that it may read.
    pub read: &'a [PathBuf],
    /// Variables of ours that it may see besides the allow-list.
    pub env_pass: &'a [String],
}

/// An environment with variables that beat those of the same name.
pub(super) fn with_own(mut env: Vec<(String, String)>, own: &[(&str, String)]) -> Vec<(String, String)> {
    env.retain(|(name, _)| own.iter().all(|(other, _)| other != name));
    env.extend(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    env
}

impl World {
    /// Makes a tenant's home and describes its environment and walls.
    pub(super) fn house(&self, tenant: &Tenant<'_>) -> Result<Housing, Trouble> {
        let options = &self.options;
        let dir = options.workspaces.fresh_home_dir(tenant.name)?;
        let var = |name: &str| options.env.iter().find(|(k, _)| k == name).map(|(_, v)| PathBuf::from(v));
        let real_home = var("HOME");
        let cargo_home = var("CARGO_HOME").or_else(|| real_home.as_ref().map(|home| home.join(".cargo")));
        let base_home = options.workspaces.home_dir(BASE).join("home");
        let layer = Some(base_home.as_path()).filter(|home| tenant.name != BASE && home.exists());
        let home = sandbox::make_home(&dir, real_home.as_deref(), cargo_home.as_deref(), layer)?;
        let mut private = if options.walled { home.env() } else { Vec::new() };
        let place = tenant.tree.display().to_string();
        let mark = format!("{MARK}={place}");
        private.extend([("MAESTRO_SESSION", options.workspaces.session().to_string()), (MARK, place)]);
        let env = sandbox::child_env(options.env.iter().cloned(), tenant.env_pass, &private);
        let walls = options.walled.then(|| {
            let read = tenant.read.iter().chain(&options.read).chain(&home.links).cloned();
            let read = read.chain(options.workspaces.object_dirs());
            let write = [tenant.tree, home.home.as_path(), home.tmp.as_path()];
            let write: Vec<PathBuf> = write.into_iter().map(Path::to_owned).chain(options.write.clone()).collect();
            sandbox::standard_walls(&options.env, &read.collect::<Vec<_>>(), &write, &self.options.never)
        });
        Ok(Housing { home, env, walls, mark })
    }

    /// Ends what a tree left whose warden was lost. Returns how many processes that were.
    pub(super) fn end_lost(tree: &Path, mark: &str) -> u32 {
        patience::with_helpers(|helpers| sandbox::end_lost(tree, mark, helpers))
    }
}

/// Variable by which what a tree started is found again; its value is where the tree works.
const MARK: &str = "MAESTRO_WORKSPACE";

/// Name of the base tree's housing.
pub(super) const BASE: &str = "base";

/// Limits of an attempt that come from the settings; its time limit comes with its effect.
pub(super) fn attempt_limits(settings: &Settings, wall_ms: u64, has_stream: bool) -> Limits {
    let task = &settings.task_budget;
    Limits {
        wall_ms,
        idle_ms: Some(settings.idle_ms),
        startup_ms: has_stream.then_some(settings.startup_ms),
        grace_ms: settings.grace_ms,
        linger_ms: LINGER_MS,
        max_memory_bytes: task.max_memory_bytes,
        max_processes: task.max_processes,
        max_output_bytes: task.max_output_bytes,
        max_disk_bytes: task.max_disk_bytes,
    }
}

/// Limits of a gate: those of an attempt on memory, processes and disk, with its own time limit and no silence limit.
pub(super) fn gate_limits(settings: &Settings, wall_ms: u64) -> Limits {
    Limits { idle_ms: None, max_output_bytes: None, ..attempt_limits(settings, wall_ms, false) }
}

/// Some agents hang after their result; this long they are given to end by themselves, milliseconds.
const LINGER_MS: u64 = 5000;
