//! Whether the help of a command line says what it has to: what each command is for, an example of its use, and what
//! each argument means. Every program's tests ask this of its own commands.

/// Finds what the help leaves out, in words.
#[must_use]
pub fn gaps(definition: &clap::Command) -> Vec<String> {
    let mut found = Vec::new();
    let mut all = Vec::new();
    collect(definition, definition.get_name(), &mut all);
    for (path, command) in all {
        if command.get_about().is_none() {
            found.push(format!("{path} has no about"));
        }
        for argument in command.get_arguments() {
            if argument.get_help().is_none() {
                found.push(format!("{path}: {} is not explained", argument.get_id()));
            }
        }
        let long = command.get_after_long_help().map(ToString::to_string);
        let shown = long.is_some_and(|text| text.contains(&path));
        if !command.has_subcommands() && !shown {
            found.push(format!("{path} shows no example of its use"));
        }
    }
    found
}

/// Every command and group below `command`: its path and its definition.
fn collect<'a>(
    command: &'a clap::Command,
    path: &str,
    found: &mut Vec<(String, &'a clap::Command)>,
) {
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name());
        collect(sub, &path, found);
        found.push((path, sub));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_help_is_found() {
        let bare = clap::Command::new("it")
            .subcommand(clap::Command::new("does").arg(clap::Arg::new("what").long("what")));
        let gaps = gaps(&bare);
        for gap in [
            "it does has no about",
            "it does: what is not explained",
            "it does shows no example of its use",
        ] {
            assert!(gaps.contains(&gap.to_owned()), "{gaps:?}");
        }
    }
}
