//! A demo whose nodes go on running: their names for `-n`, the keys with which a reader acts, and their end.
//!
//! The names are taken before anything is started, and each leads to a home in the demo's folder. They are all
//! that tells of a kept demo, so a second one finds the first, and the end of it needs no file of its own:
//!
//! ```text
//! NODES/police ──▶ TMP/portcullis-demo-77844be672aa/police      nodes: processes that run with such a home
//!                  TMP/portcullis-demo-77844be672aa/env         sourced by the reader's shell
//!                  TMP/portcullis-demo-77844be672aa/persons/    keys and their passphrase, mode 0600
//! ```
//!
//! Ending refuses to touch a folder that no demo made, and a process that does not run a node in it.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    DemoError,
    cast::Member,
    folder::{AT_WORK, is_made_by_a_demo},
    people::{KeyFiles, People},
};
use portcullis_home::files::{self, Access, FileError};

/// Longest time that nodes may take to stop before they are killed.
const STOP: Duration = Duration::from_secs(20);

/// Interval at which ending processes are looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Names of the demo's nodes in the folder of named nodes. They are removed when this value is dropped, unless
/// the demo is kept.
pub(super) struct Names {
    links: Vec<PathBuf>,
    kept: bool,
}

impl Names {
    /// Takes a name for each member, which leads to its home below `demo`.
    ///
    /// # Errors
    ///
    /// [`DemoError`] if a demo is kept already, a name is taken, or the folder cannot be written. No name is left
    /// behind then.
    pub(super) fn take(nodes: &Path, demo: &Path, members: &[Member]) -> Result<Self, DemoError> {
        if let Some(folder) = Kept::all(nodes)?.folders.into_iter().next() {
            return Err(DemoError::KeptAlready(folder));
        }
        files::create_folder(nodes)?;
        let mut taken = Self {
            links: Vec::new(),
            kept: false,
        };
        for member in members {
            let link = nodes.join(member.node.as_str());
            take(&link, &demo.join(member.node.as_str()))?;
            taken.links.push(link);
        }
        Ok(taken)
    }

    /// Keeps the names when this value is dropped.
    pub(super) const fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for link in &self.links {
            if let Err(error) = fs::remove_file(link) {
                tracing::warn!(%error, path = %link.display(), "a name of the demo's stays behind");
            }
        }
    }
}

/// Makes a name. One that a demo left whose folder is gone is replaced, and no other.
fn take(link: &Path, home: &Path) -> Result<(), DemoError> {
    if demo_of(link).is_some_and(|folder| !folder.exists()) {
        remove(link)?;
    }
    std::os::unix::fs::symlink(home, link).map_err(|source| {
        if source.kind() == ErrorKind::AlreadyExists {
            DemoError::NameTaken(link.to_owned())
        } else {
            FileError::system("write", link, source).into()
        }
    })
}

/// Returns the folder of the demo that a name leads to, whether or not it still exists.
fn demo_of(link: &Path) -> Option<PathBuf> {
    let home = fs::read_link(link).ok()?;
    let folder = home.parent()?;
    (folder.is_absolute() && is_made_by_a_demo(folder)).then(|| folder.to_owned())
}

fn remove(link: &Path) -> Result<(), FileError> {
    fs::remove_file(link).map_err(|source| FileError::system("remove", link, source))
}

/// Writes the keys of the demo's persons, and the file that makes a shell use them. Returns that file.
pub(super) fn write_environment(demo: &Path, people: &People) -> Result<PathBuf, DemoError> {
    let KeyFiles {
        supervisor,
        passphrase,
    } = people.write(&demo.join("persons"))?;
    let text = format!(
        "# Keys of this demo's nodes alone; `portcullis-lab demo --stop` removes them.\n\
         export PORTCULLIS_PERSON_KEY={}\n\
         export PORTCULLIS_PERSON_PASSPHRASE_FILE={}\n",
        quoted(&supervisor),
        quoted(&passphrase),
    );
    let file = demo.join("env");
    files::create(&file, text.as_bytes(), Access::Owner)?;
    Ok(file)
}

/// Writes a path so that a POSIX shell reads it as one word.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Folders, processes and names that were ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Folders that were removed.
    pub folders: Vec<PathBuf>,
    /// Number of processes that were ended.
    pub processes: usize,
    /// Names that were removed.
    pub names: Vec<String>,
}

/// Demos that are named in a folder of nodes.
struct Kept {
    /// Folders that are there.
    folders: BTreeSet<PathBuf>,
    /// Names that lead into a demo's folder, also into one that is gone.
    links: Vec<PathBuf>,
}

impl Kept {
    fn all(nodes: &Path) -> Result<Self, FileError> {
        let mut links = files::list_all(nodes)?;
        links.retain(|link| demo_of(link).is_some());
        let mut folders: BTreeSet<PathBuf> = links.iter().filter_map(|l| demo_of(l)).collect();
        folders.retain(|folder| folder.is_dir());
        Ok(Self { folders, links })
    }
}

/// Ends every kept demo that is named in the folder of nodes: its processes, its folder, its names.
///
/// # Errors
///
/// [`DemoError`] if there is none, one is still at work, or something cannot be removed.
pub fn stop(nodes: &Path) -> Result<Ended, DemoError> {
    let Kept { folders, links } = Kept::all(nodes)?;
    if links.is_empty() {
        return Err(DemoError::NothingKept(nodes.to_owned()));
    }
    if let Some((folder, process)) = folders.iter().find_map(|f| Some((f, at_work(f)?))) {
        let folder = folder.clone();
        return Err(DemoError::AtWork { folder, process });
    }
    let mut processes = 0;
    for folder in &folders {
        processes += end_nodes(folder)?;
        fs::remove_dir_all(folder).map_err(|source| FileError::system("remove", folder, source))?;
    }
    for link in &links {
        remove(link)?;
    }
    let name = |link: &PathBuf| Some(link.file_name()?.to_string_lossy().into_owned());
    Ok(Ended {
        folders: folders.into_iter().collect(),
        processes,
        names: links.iter().filter_map(name).collect(),
    })
}

/// Returns the process whose demo is under way in the folder.
fn at_work(folder: &Path) -> Option<u32> {
    let process: u32 = fs::read_to_string(folder.join(AT_WORK))
        .ok()?
        .parse()
        .ok()?;
    let demo = arguments(process).iter().any(|argument| argument == "demo");
    demo.then_some(process)
}

/// Ends the nodes that run in the folder, and returns their number.
fn end_nodes(folder: &Path) -> Result<usize, DemoError> {
    let nodes = nodes_in(folder)?;
    for &process in &nodes {
        signal(process, folder, Signal::TERM);
    }
    let begun = Instant::now();
    while nodes.iter().any(|&node| runs_in(node, folder)) {
        if begun.elapsed() > STOP {
            for &process in &nodes {
                signal(process, folder, Signal::KILL);
            }
        }
        if begun.elapsed() > STOP * 2 {
            return Err(DemoError::Endless(folder.to_owned()));
        }
        std::thread::sleep(GLANCE);
    }
    Ok(nodes.len())
}

fn nodes_in(folder: &Path) -> Result<Vec<u32>, FileError> {
    let processes = files::list_all(Path::new("/proc"))?;
    let numbers = processes
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    Ok(numbers.filter(|&node| runs_in(node, folder)).collect())
}

/// Returns true if the process is `… --home FOLDER/NAME run`.
fn runs_in(process: u32, folder: &Path) -> bool {
    let arguments = arguments(process);
    let home = arguments.iter().skip_while(|word| *word != "--home").nth(1);
    let within = home.is_some_and(|home| Path::new(home).parent() == Some(folder));
    within && arguments.last().is_some_and(|word| word == "run")
}

/// Returns the command line of a process; nothing for one that has ended.
fn arguments(process: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Sends a signal to a node. The process is held before it is looked at again, so that a process that took
/// over its number gets none.
fn signal(process: u32, folder: &Path, signal: Signal) {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    let Some(Ok(held)) = id.map(|id| pidfd_open(id, PidfdFlags::empty())) else {
        return;
    };
    if runs_in(process, folder)
        && let Err(error) = pidfd_send_signal(&held, signal)
    {
        tracing::debug!(%error, process, "a node was not asked to stop");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{cast, folder::MARK};
    use std::process::{Child, Command};

    fn members() -> Vec<Member> {
        cast::members(&["13".to_owned(), "33".to_owned()]).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Makes a folder as a demo does.
    fn made(folder: &Path) {
        fs::create_dir(folder).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        fs::write(folder.join(MARK), name).unwrap();
    }

    /// A home below a folder whose name begins like a demo's was ended and removed, keys and all.
    #[test]
    fn a_folder_that_no_demo_made_is_nobodys_demo() {
        let place = tempfile::tempdir().unwrap();
        let nodes = place.path().join("nodes");
        fs::create_dir_all(&nodes).unwrap();
        for name in ["portcullis-demo-2026", "portcullis-demo-00000000000b"] {
            let home = place.path().join(name).join("site");
            fs::create_dir_all(&home).unwrap();
            std::os::unix::fs::symlink(&home, nodes.join(name)).unwrap();
            // Another demo's mark is none of this folder.
            fs::write(
                place.path().join(name).join(MARK),
                "portcullis-demo-00000000000c",
            )
            .unwrap();
        }
        assert!(matches!(stop(&nodes), Err(DemoError::NothingKept(_))));
        assert_eq!(names(&nodes).len(), 2);
        assert!(place.path().join("portcullis-demo-2026/site").is_dir());
    }

    /// A process that has a node's command line and does nothing.
    fn sleeper(home: &Path) -> Child {
        Command::new("sh")
            .args(["-c", "read line", "portcullis-lab", "--home"])
            .arg(home)
            .arg("run")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_second_demo_finds_the_first_and_takes_no_name_of_it() {
        let place = tempfile::tempdir().unwrap();
        let nodes = place.path().join("nodes");
        let (first, second) = (
            place.path().join("portcullis-demo-000000000001"),
            place.path().join("portcullis-demo-000000000002"),
        );
        made(&first);
        let mut kept = Names::take(&nodes, &first, &members()).unwrap();
        kept.keep();
        drop(kept);
        let Err(refused) = Names::take(&nodes, &second, &members()) else {
            panic!("a second demo was named");
        };
        assert!(matches!(refused, DemoError::KeptAlready(folder) if folder == first));
        assert_eq!(
            fs::read_link(nodes.join("police")).unwrap(),
            first.join("police")
        );
    }

    #[test]
    fn somebody_elses_name_is_not_taken_and_the_others_are_given_back() {
        let place = tempfile::tempdir().unwrap();
        let nodes = place.path().join("nodes");
        let demo = place.path().join("portcullis-demo-000000000001");
        fs::create_dir_all(&nodes).unwrap();
        std::os::unix::fs::symlink("/srv/police", nodes.join("police")).unwrap();
        let Err(refused) = Names::take(&nodes, &demo, &members()) else {
            panic!("a name was taken away");
        };
        assert!(matches!(refused, DemoError::NameTaken(link) if link == nodes.join("police")));
        assert_eq!(names(&nodes), ["police"]);
    }

    #[test]
    fn names_of_a_demo_whose_folder_is_gone_are_taken_again_and_removed() {
        let place = tempfile::tempdir().unwrap();
        let nodes = place.path().join("nodes");
        fs::create_dir_all(&nodes).unwrap();
        let gone = place.path().join("portcullis-demo-000000000000/police");
        std::os::unix::fs::symlink(&gone, nodes.join("police")).unwrap();
        let demo = place.path().join("portcullis-demo-000000000001");
        drop(Names::take(&nodes, &demo, &members()).unwrap());
        assert_eq!(names(&nodes), [""; 0]);
        std::os::unix::fs::symlink(&gone, nodes.join("hub")).unwrap();
        let ended = stop(&nodes).unwrap();
        assert_eq!((ended.processes, ended.names), (0, vec!["hub".to_owned()]));
        assert!(matches!(stop(&nodes), Err(DemoError::NothingKept(_))));
    }

    #[test]
    fn the_end_of_a_demo_ends_its_nodes_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let nodes = place.path().join("nodes");
        let demo = place.path().join("portcullis-demo-000000000001");
        made(&demo);
        fs::create_dir(demo.join("police")).unwrap();
        let mut kept = Names::take(&nodes, &demo, &members()).unwrap();
        kept.keep();
        std::os::unix::fs::symlink("/srv/antwerp", nodes.join("antwerp")).unwrap();
        let mut node = sleeper(&demo.join("police"));
        let mut other = sleeper(&place.path().join("portcullis-demo-00000000000a0/police"));
        while nodes_in(&demo).unwrap().is_empty() {
            std::thread::yield_now();
        }
        let ended = stop(&nodes).unwrap();
        assert_eq!((ended.processes, ended.folders), (1, vec![demo.clone()]));
        // Not before: to wait for a child ends what it reads.
        assert!(!node.wait().unwrap().success());
        assert!(!demo.exists());
        assert_eq!(names(&nodes), ["antwerp"]);
        assert_eq!(other.try_wait().unwrap(), None, "another demo's node ended");
        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn a_demo_that_is_at_work_is_not_ended_under_its_hands() {
        let place = tempfile::tempdir().unwrap();
        let nodes = place.path().join("nodes");
        let demo = place.path().join("portcullis-demo-000000000001");
        made(&demo);
        let mut kept = Names::take(&nodes, &demo, &members()).unwrap();
        kept.keep();
        let mut working = Command::new("sh")
            .args(["-c", "read line", "portcullis-lab", "demo"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while arguments(working.id())
            .last()
            .is_none_or(|word| word != "demo")
        {
            std::thread::yield_now();
        }
        fs::write(demo.join(AT_WORK), working.id().to_string()).unwrap();
        assert!(matches!(stop(&nodes), Err(DemoError::AtWork { .. })));
        assert!(demo.is_dir());
        drop(working.stdin.take());
        working.wait().unwrap();
        assert_eq!(stop(&nodes).unwrap().folders, [demo]);
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for path in ["/tmp/portcullis-demo-000000000001/env", "/tmp/it's here/$x"] {
            let printed = Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(Path::new(path)))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), path);
        }
    }
}
