//! A program that serves one connection: started without a shell or secrets, and ended with everything it has started.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// What a program gets of our environment: enough to find programs and to speak the right language, and no secrets.
const KEPT: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
];
/// What Windows programs cannot start without.
const KEPT_WINDOWS: [&str; 4] = ["SYSTEMROOT", "PATHEXT", "TEMP", "COMSPEC"];

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Finds the program as a shell would: by its path, or by its name in `PATH`.
    ///
    /// # Errors
    ///
    /// There is no such program, or it must not be run.
    pub(crate) fn find(words: &[OsString]) -> io::Result<Self> {
        let [name, arguments @ ..] = words else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let path = Path::new(name);
        let path = if path.components().count() > 1 {
            path.to_owned()
        } else {
            let directories = env::var_os("PATH").unwrap_or_default();
            let found = env::split_paths(&directories)
                .map(|directory| directory.join(name))
                .find(|path| is_program(path));
            found.ok_or(io::ErrorKind::NotFound)?
        };
        if !path.exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !is_program(&path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self {
            path,
            arguments: arguments.to_vec(),
        })
    }

    /// Starts it in a process group of its own, with these variables.
    ///
    /// # Errors
    ///
    /// The system cannot start it.
    pub(crate) fn start(&self, variables: &[(&str, String)]) -> io::Result<Process> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in KEPT.into_iter().chain(
            if cfg!(windows) {
                &KEPT_WINDOWS[..]
            } else {
                &[]
            }
            .iter()
            .copied(),
        ) {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        // A NUL cannot stand in a variable.
        command.envs(
            variables
                .iter()
                .map(|(name, value)| (*name, value.replace('\0', ""))),
        );
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn()?;
        Ok(Process {
            group: Group::of(&child),
            child,
        })
    }

    /// What it is called in the log.
    pub(crate) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or(self.path.as_os_str())
    }
}

/// A running program. Dropped, it is killed, and with it everything in its process group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Group,
}

impl Process {
    /// Its standard input, output and error, once.
    pub(crate) fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout, ChildStderr)> {
        Some((
            self.child.stdin.take()?,
            self.child.stdout.take()?,
            self.child.stderr.take()?,
        ))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// The system cannot say.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it: its input has ended already, so it gets `grace` to end by itself, SIGTERM and `grace` again, SIGKILL.
    pub(crate) async fn end(mut self, grace: Duration) {
        if timeout(grace, self.child.wait()).await.is_err() {
            self.group.terminate();
            let _ = timeout(grace, self.child.wait()).await;
        }
        self.group.kill();
        let _ = self.child.kill().await;
    }
}

/// The process group of a program.
#[derive(Debug)]
struct Group {
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        Self { id }
    }

    fn terminate(&self) {
        if let Some(id) = self.id {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::TERM);
        }
    }

    /// Once: after its end the number may belong to others.
    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(not(unix))]
impl Group {
    fn of(_child: &Child) -> Self {
        Self {}
    }

    fn terminate(&self) {}

    fn kill(&mut self) {}
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn program(words: &[&str]) -> Program {
        Program::find(&words.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn programs_are_found_before_anybody_connects() {
        for (word, expected) in [
            ("cat", None),
            ("/bin/cat", None),
            ("no-such-program-here", Some(io::ErrorKind::NotFound)),
            ("/no/such/program", Some(io::ErrorKind::NotFound)),
            ("/etc/passwd", Some(io::ErrorKind::PermissionDenied)),
            ("/etc", Some(io::ErrorKind::PermissionDenied)),
        ] {
            let found = Program::find(&[OsString::from(word)]);
            assert_eq!(found.err().map(|error| error.kind()), expected, "{word}");
        }
    }

    #[tokio::test]
    async fn the_environment_holds_what_was_given_and_no_more() {
        let mut process = program(&["env"])
            .start(&[("REQUEST_URI", "/a\0b".into())])
            .unwrap();
        let (_, mut stdout, _) = process.pipes().unwrap();
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.unwrap();
        assert!(process.wait().await.unwrap().success());
        assert!(text.lines().any(|line| line == "REQUEST_URI=/ab"));
        for line in text.lines() {
            let name = line.split('=').next().unwrap();
            assert!(name == "REQUEST_URI" || KEPT.contains(&name), "{name}");
        }
    }

    /// A program that ignores the end of its input and SIGTERM, and has started another one.
    #[tokio::test]
    async fn the_whole_group_ends() {
        let script = "trap '' TERM; sleep 1000 & echo $!; exec sleep 1000";
        let mut process = program(&["sh", "-c", script]).start(&[]).unwrap();
        let (stdin, mut stdout, _stderr) = process.pipes().unwrap();
        let mut buffer = [0; 32];
        let read = stdout.read(&mut buffer).await.unwrap();
        let grandchild: i32 = str::from_utf8(&buffer[..read])
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        drop(stdin);
        process.end(Duration::from_millis(10)).await;
        // Both held the write end of stdout: at its end both are gone.
        assert_eq!(stdout.read(&mut buffer).await.unwrap(), 0);
        assert!(grandchild > 0);
    }

    #[tokio::test]
    async fn a_program_that_ends_by_itself_is_not_hurried() {
        let mut process = program(&["cat"]).start(&[]).unwrap();
        let (mut stdin, mut stdout, _stderr) = process.pipes().unwrap();
        stdin.write_all(b"last words\n").await.unwrap();
        drop(stdin);
        process.end(Duration::from_secs(60)).await;
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words\n");
    }
}
