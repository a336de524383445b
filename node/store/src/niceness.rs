//! Threads that give way to what is urgent.

/// Niceness of such a thread (nice(2)): the system schedules it after others.
pub const NICENESS: i32 = 10;

/// Makes the system schedule the calling thread after others from now on. Only a privileged process
/// could undo it.
pub fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "a thread cannot give way to what is urgent");
    }
}
