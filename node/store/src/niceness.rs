//! Threads that give way to what is urgent.

/// How much later than others such a thread is scheduled (nice(2)).
pub const NICENESS: i32 = 10;

/// The calling thread is scheduled after others from now on; only a privileged process could undo
/// it.
pub fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "a thread cannot give way to what is urgent");
    }
}
