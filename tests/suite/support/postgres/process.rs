//! Programs that outlive no test run: finding them, giving up root rights, and the watchdog.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io};

/// Where programs are looked for: the directories of `PATH`, then the usual places.
///
/// A usual place may have one `*` in one of its components.
pub(crate) fn search_path(usual: &[&str]) -> Vec<PathBuf> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut places = Vec::new();
    for place in env::split_paths(&on_path).chain(usual.iter().flat_map(|place| expand(place))) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn expand(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return vec![PathBuf::from(place)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or((".", before));
    let (suffix, rest) = after.split_once('/').unwrap_or((after, ""));
    let mut found: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .map(|entry| entry.path().join(rest))
        .collect();
    found.sort();
    found
}

/// Whether the file can be executed by anybody.
pub(crate) fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The account that servers run as when the tests run as root, which PostgreSQL and pgbouncer
/// both refuse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` for an ordinary user, whose own account will do.
    pub(crate) fn for_servers() -> Result<Option<Self>, String> {
        if id(&["-u"]) != Some(0) {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| {
                Some(Self {
                    uid: id(&["-u", name]).filter(|uid| *uid != 0)?,
                    gid: id(&["-g", name])?,
                })
            })
            .map(Some)
            .ok_or_else(|| {
                "the tests run as root, a database server must not, and this machine has neither \
                 an account `postgres` nor `nobody` to run it as"
                    .to_owned()
            })
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A command that runs as the account, away from a directory which that account may not read.
fn command(program: impl AsRef<OsStr>, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    command
}

/// The file system in memory, where there is one with room for a test run.
pub(crate) fn memory_disk() -> Option<PathBuf> {
    /// A container may have 64 MB of it, and a database of the tests takes 10.
    const ROOM: u64 = 2 * 1024 * 1024;
    let output = Command::new("df").args(["-Pk", "/dev/shm"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().nth(1)?;
    let free: u64 = line.split_whitespace().nth(3)?.parse().ok()?;
    (free >= ROOM && line.ends_with("/dev/shm")).then(|| "/dev/shm".into())
}

/// Makes a directory that only the account can enter, in the first place of choice or a usual one.
///
/// Its path is short, for a socket's path has at most 103 bytes. The directory for temporary
/// files may itself be closed to the account (root's own, for example), so others are tried.
pub(crate) fn private_directory(
    name: &str,
    choice: Option<PathBuf>,
    account: Option<Account>,
) -> Result<PathBuf, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut refused = String::new();
    let usual = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    for parent in choice.into_iter().chain(usual) {
        let directory = loop {
            let unique = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{name}-{}-{unique}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => break Err(error),
            }
        };
        let usable = directory.and_then(|directory| {
            if let Some(Account { uid, gid }) = account {
                chown(&directory, Some(uid), Some(gid))?;
            }
            let entered = command("sh", account)
                .args(["-c", "cd \"$1\" && test -w .", "sh"])
                .arg(&directory)
                .stderr(Stdio::null())
                .status()?;
            if entered.success() {
                return Ok(directory);
            }
            fs::remove_dir(&directory)?;
            Err(io::Error::other("closed to the account of the server"))
        });
        match usable {
            Ok(directory) => return Ok(directory),
            Err(error) => refused += &format!("\n  {}: {error}", parent.display()),
        }
    }
    Err(format!("no place for the server's files:{refused}"))
}

/// Writes a file into a private directory, for the account to read.
pub(crate) fn write(
    directory: &Path,
    file: &str,
    text: &str,
    account: Option<Account>,
) -> Result<(), String> {
    let path = directory.join(file);
    let owner = account.map(|account| (account.uid, account.gid)).unzip();
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
        .and_then(|()| chown(&path, owner.0, owner.1))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port on 127.0.0.1: {error}"))
}

/// A shell script that runs beside the tests and cleans up after them, however they end.
///
/// Statics are not dropped when a process exits, and nothing is when it is killed. But the system
/// closes the pipe that is the script's standard input, and that is what the script waits for. It
/// has a process group of its own and ignores the signals of a terminal, so that an interrupted
/// run is cleaned up as well. Dropping it closes the pipe and waits for the script.
#[derive(Debug)]
pub(crate) struct Watchdog {
    script: Child,
}

impl Watchdog {
    /// Starts the script and waits for its first line, which is returned.
    ///
    /// The script must print one line and no more, read its standard input to the end with `cat`, and
    /// then clean up.
    pub(crate) fn start(
        script: &str,
        arguments: &[OsString],
        account: Option<Account>,
    ) -> Result<(Self, String), String> {
        let script = format!("trap '' INT TERM HUP QUIT\n{script}");
        let mut script = command("sh", account)
            .args(["-c", &script, "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot run `sh`: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = script.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|error| format!("cannot read from `sh`: {error}"))?;
        }
        Ok((Self { script }, line.trim().to_owned()))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // Nothing could be done about a script that cannot be waited for.
        let _ = self.script.wait();
    }
}
