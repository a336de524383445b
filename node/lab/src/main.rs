//! The `portcullis-lab` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis_lab::commands::main()
}
