//! Files that are whole at any instant: written beside their place, renamed into it. They derive from the journal,
//! so they are not synced: what a power cut takes is made again.

use std::io::{self, Write};
use std::path::Path;

/// Replaces a file at once: a reader sees the old bytes or the new ones, never half of them.
///
/// # Errors
/// The directory cannot be written, or the disk is full.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".maestro-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    // tempfile makes private files; reports are for everybody who may read the directory.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    Ok(())
}

/// Makes a directory and what it stands in.
///
/// # Errors
/// With the directory's path in the message.
pub fn make_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}
