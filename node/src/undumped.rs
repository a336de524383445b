//! A process with keys in its memory leaves no image of it: no core file when it crashes, and no
//! memory for another process of the same user to read.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Has the system write no core of this process, and let nobody but root look into it. What the
/// system refuses is told, and changes nothing else.
pub(crate) fn protect() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "the size of a core file cannot be limited: a crash may write keys to disk");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "this process cannot be hidden from others of its user");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack M10: a crash wrote sealing, hop and store key into a core file.
    #[test]
    fn a_protected_process_writes_no_core() {
        protect();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let words: Vec<&str> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"]);
        let behavior = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(behavior, DumpableBehavior::NotDumpable);
    }
}
