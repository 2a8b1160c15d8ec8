//! Files: read within a bound, and who else may read them.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::failure::plain;

/// The longest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Reads the text of a file.
///
/// # Errors
///
/// It cannot be read, is longer than 1 MiB, or is no text: in a few words.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let read = || {
        // A folder or a pipe would fail later with words that help nobody, or never end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut text = Vec::new();
        fs::File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::Error::other("longer than 1 MiB"));
        }
        String::from_utf8(text).map_err(|_| io::Error::other("not UTF-8"))
    };
    read().map_err(|error| plain(&error))
}

/// Whether the group or others may read a file.
#[cfg(unix)]
pub(crate) fn open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

/// Whether the group or others may read a file: nothing that can be asked here.
#[cfg(not(unix))]
pub(crate) fn open_to_others(_path: &Path) -> bool {
    false
}
