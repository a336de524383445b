//! Threads that give way to what is urgent.

/// Niceness of such a thread (nice(2)): the system schedules it after others.
pub const NICENESS: i32 = 10;

/// Makes the system schedule the calling thread after others from now on. A thread of a process that
/// gives way more than that already, as under `nice`, stays as it is. Only a privileged process could
/// undo it.
pub fn give_way() {
    let present = rustix::process::getpriority_process(None);
    if present.is_ok_and(|present| present >= NICENESS) {
        return;
    }
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "a thread cannot give way to what is urgent");
    }
}
