//! `serve --watch`: a file, sent whole whenever it changes, and never more than its latest version.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use antiphon::{Message, Result, Utf8Bytes, WebSocket};
use axum::response::Response;
use http::HeaderValue;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    failure::{Failure, plain},
    pages,
};

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Most that is sent of a file, in bytes: the end of a longer one.
const MAX_SIZE: u64 = 1024 * 1024;

/// A version of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// Its modification time in nanoseconds; 0 where it cannot be read.
    modified: u64,
    /// Its length in bytes.
    length: u64,
    /// What is sent: the text, or why there is none.
    text: Utf8Bytes,
}

/// A file that is being watched.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    latest: watch::Receiver<Version>,
}

impl Watched {
    /// Reads the file, and looks at it every second from now on.
    ///
    /// # Errors
    ///
    /// It cannot be read: a wrong name is known before anybody connects.
    pub(crate) fn start(path: &Path) -> Result<Arc<Self>, Failure> {
        let path = path.to_owned();
        let first = read(&path).map_err(|error| Failure::file(&path, &error))?;
        let (versions, latest) = watch::channel(first);
        tokio::spawn(poll(path.clone(), versions));
        Ok(Arc::new(Self { path, latest }))
    }

    /// Sends each version that the client does not have; `known` is the modification time of the one that it has.
    pub(crate) async fn follow(&self, socket: WebSocket, known: Option<u64>) -> Result<()> {
        let mut latest = self.latest.clone();
        let (sender, mut receiver) = socket.split();
        if known != Some(latest.borrow_and_update().modified) {
            latest.mark_changed();
        }
        loop {
            tokio::select! {
                message = receiver.recv() => {
                    if message?.is_none() {
                        return Ok(());
                    }
                }
                changed = latest.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    // While a slow reader takes this version, newer ones replace each other.
                    let text = latest.borrow_and_update().text.clone();
                    sender.send(Message::Text(text)).await?;
                }
            }
        }
    }

    /// The file as it is now, its modification time beside it.
    pub(crate) fn current(&self) -> Response {
        let version = self.latest.borrow().clone();
        let name = self
            .path
            .file_name()
            .unwrap_or(self.path.as_os_str())
            .to_string_lossy();
        let mut response = pages::answer("text/plain; charset=utf-8", version.text.into_bytes());
        for (header, value) in [
            ("file-name", percent(&name)),
            ("last-mod", format!("{:x}", version.modified)),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(header, value);
            }
        }
        response
    }
}

/// The modification time in a query `lastMod=HEX`.
pub(crate) fn last_mod(query: &str) -> Option<u64> {
    query
        .split('&')
        .find_map(|pair| u64::from_str_radix(pair.strip_prefix("lastMod=")?, 16).ok())
}

async fn poll(path: PathBuf, versions: watch::Sender<Version>) {
    let mut clock = interval(POLL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let (path, known) = (path.clone(), versions.borrow().clone());
        let looked = tokio::task::spawn_blocking(move || look(&path, &known)).await;
        if let Ok(Some(version)) = looked {
            // The same error again is no news.
            versions.send_if_modified(|latest| {
                let news = *latest != version;
                *latest = version;
                news
            });
        }
        if versions.is_closed() {
            return;
        }
    }
}

/// The file as it is, if it is not as it was.
fn look(path: &Path, known: &Version) -> Option<Version> {
    let version = match stamp(path) {
        Ok(stamp) if stamp == (known.modified, known.length) => return None,
        Ok(_) => read(path),
        Err(error) => Err(error),
    };
    Some(version.unwrap_or_else(|error| {
        Version {
            modified: 0,
            length: 0,
            text: format!(
                "antiphon: error: cannot read {}: {}",
                path.display(),
                plain(&error)
            )
            .into(),
        }
    }))
}

fn stamp(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    if !file.is_file() {
        // A pipe or a device could make its reader wait for ever.
        return Err(io::Error::other("it is not a file"));
    }
    let modified = file
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok((
        u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
        file.len(),
    ))
}

/// Reads the end of the file, from the beginning of a line where it is not whole.
fn read(path: &Path) -> io::Result<Version> {
    // Taken first: a change while reading is seen by the next look.
    let (modified, length) = stamp(path)?;
    let mut file = File::open(path)?;
    let skipped = length.saturating_sub(MAX_SIZE);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    let text = if skipped == 0 {
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        let start = bytes
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let skipped = skipped + start as u64;
        format!(
            "[antiphon: the first {skipped} bytes are not shown]\n{}",
            String::from_utf8_lossy(&bytes[start..])
        )
    };
    Ok(Version {
        modified,
        length,
        text: text.into(),
    })
}

/// Bytes that a header or a reader might misunderstand, as %XX.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut safe, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            safe.push(byte as char);
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("antiphon-watch-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_file_is_read_to_its_bound() {
        let long = [
            &b"first line that is cut\n"[..],
            &vec![b'x'; MAX_SIZE as usize - 10],
            b"\nlast\n",
        ]
        .concat();
        for (name, content, expected) in [
            ("text", &b"hello\n"[..], "hello\n"),
            ("empty", b"", ""),
            ("latin1", b"caf\xe9", "caf\u{fffd}"),
        ] {
            let path = file(name, content);
            assert_eq!(read(&path).unwrap().text, expected);
            fs::remove_file(path).unwrap();
        }
        let path = file("long", &long);
        let text = read(&path).unwrap().text;
        fs::remove_file(path).unwrap();
        assert!(text.starts_with("[antiphon: the first ") && text.ends_with("\nlast\n"));
        assert!(text.len() < MAX_SIZE as usize + 100);
    }

    #[test]
    fn only_changes_are_news() {
        let path = file("changes", b"one");
        let first = read(&path).unwrap();
        assert_eq!(look(&path, &first), None);
        fs::write(&path, b"three").unwrap();
        let second = look(&path, &first).unwrap();
        assert_eq!(second.text, "three");
        // The same length, another time.
        fs::write(&path, b"seven").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
            .unwrap();
        let third = look(&path, &second).unwrap();
        assert_eq!(
            (third.text.as_str(), third.modified),
            ("seven", 7_000_000_000)
        );
        fs::remove_file(&path).unwrap();
        let gone = look(&path, &third).unwrap();
        assert!(gone.text.contains("no such file"), "{}", gone.text.as_str());
        assert_eq!(look(&path, &gone), Some(gone.clone()));
    }

    #[test]
    fn queries_name_the_known_version() {
        for (query, expected) in [
            ("lastMod=ff", Some(255)),
            ("a=b&lastMod=10", Some(16)),
            ("lastMod=", None),
            ("lastMod=xyz", None),
            ("", None),
        ] {
            assert_eq!(last_mod(query), expected, "{query}");
        }
        assert_eq!(percent("a b.txt\n"), "a%20b.txt%0A");
    }
}
