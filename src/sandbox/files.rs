//! Files whose names something hostile could have taken first: opened without following a link, without waiting for
//! the other end of a FIFO, and refused unless they are regular files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// Opens a file for writing from its beginning; it is made if it is missing.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = open_regular(path, OFlags::WRONLY | OFlags::CREATE)?;
    file.set_len(0)?;
    Ok(file)
}

/// Opens a file for reading.
pub(super) fn open_read(path: &Path) -> io::Result<File> {
    open_regular(path, OFlags::RDONLY)
}

/// The last `bytes` bytes of a file, or all of it where it is shorter.
///
/// # Errors
/// It cannot be read, or it is a link, a FIFO, a directory: anything but a regular file.
pub fn read_tail(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = open_read(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut tail = Vec::new();
    file.take(bytes).read_to_end(&mut tail)?;
    Ok(tail)
}

fn open_regular(path: &Path, access: OFlags) -> io::Result<File> {
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let named = |error: rustix::io::Errno| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::from(open(path, access | careful, Mode::from_raw_mode(0o666)).map_err(named)?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "abcdef").unwrap();
        assert_eq!(read_tail(&path, 2).unwrap(), b"ef");
        assert_eq!(read_tail(&path, 100).unwrap(), b"abcdef");
    }

    #[test]
    fn links_and_directories_and_devices_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        for path in [link.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert!(read_tail(path, 1).is_err(), "{}", path.display());
            assert!(create(path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn what_a_file_held_before_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old").unwrap();
        drop(create(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
