//! Node that a command speaks to: its home folder and its socket.
//!
//! ```text
//! -n NAME        →  NODES/NAME, a symbolic link to the home or a file that holds its path
//! --home DIR     →  DIR
//! nothing        →  PORTCULLIS_HOME, else /var/lib/portcullis
//! ```
//!
//! `NODES` is `~/.portcullis/nodes`, or `PORTCULLIS_NODES`. A name is one path component. That a
//! node has a place does not mean that it runs.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::error::CliError;

/// Home of a node if nothing else is named.
const DEFAULT_HOME: &str = "/var/lib/portcullis";

/// What the command line says about the node.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PlaceArgs {
    /// The folder of the node [default: $PORTCULLIS_HOME, else /var/lib/portcullis]
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        conflicts_with = "node",
        help_heading = "Which node, and how to print"
    )]
    pub home: Option<PathBuf>,
    /// The node by its name in ~/.portcullis/nodes (or $PORTCULLIS_NODES)
    #[arg(
        short = 'n',
        long,
        value_name = "NAME",
        global = true,
        help_heading = "Which node, and how to print"
    )]
    pub node: Option<String>,
}

/// Paths that the environment of the process names.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Value of `HOME`.
    pub user_home: Option<PathBuf>,
    /// Value of `PORTCULLIS_HOME`.
    pub node_home: Option<PathBuf>,
    /// Value of `PORTCULLIS_NODES`.
    pub nodes: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment of the process. An empty variable counts as none.
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name| {
            std::env::var_os(name)
                .filter(|value: &OsString| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            user_home: path("HOME"),
            node_home: path("PORTCULLIS_HOME"),
            nodes: path("PORTCULLIS_NODES"),
        }
    }

    /// Returns the folder of named nodes.
    ///
    /// # Errors
    ///
    /// [`CliError`] if neither the environment nor the user's home names it.
    pub fn nodes_folder(&self) -> Result<PathBuf, CliError> {
        let of_user = || Some(self.user_home.as_ref()?.join(".portcullis").join("nodes"));
        self.nodes.clone().or_else(of_user).ok_or_else(|| {
            CliError::usage("nothing says where named nodes are: HOME is not set")
                .remedy("set PORTCULLIS_NODES, or give the node's folder with `--home DIR`")
        })
    }
}

impl PlaceArgs {
    /// Returns the home of the node that the command line or the environment names.
    ///
    /// # Errors
    ///
    /// [`CliError`] if a name does not lead to a node.
    pub fn home(&self, surroundings: &Surroundings) -> Result<PathBuf, CliError> {
        match (&self.node, &self.home) {
            (Some(name), _) => named(name, &surroundings.nodes_folder()?),
            (None, Some(home)) => Ok(home.clone()),
            (None, None) => Ok(surroundings
                .node_home
                .clone()
                .unwrap_or_else(|| PathBuf::from(DEFAULT_HOME))),
        }
    }
}

fn named(name: &str, nodes: &Path) -> Result<PathBuf, CliError> {
    let mut components = Path::new(name).components();
    let one = matches!(
        (components.next(), components.next()),
        (Some(std::path::Component::Normal(_)), None)
    );
    if !one {
        return Err(CliError::invalid(format!("`{name}` is no name of a node"))
            .remedy("give a name without slashes, or the node's folder with `--home DIR`"));
    }
    let entry = nodes.join(name);
    let found = match fs::metadata(&entry) {
        Ok(metadata) if metadata.is_dir() => Ok(entry),
        Ok(_) => fs::read_to_string(&entry).map(|text| PathBuf::from(text.trim())),
        Err(error) => Err(error),
    };
    found.map_err(|error| unknown(name, nodes, &error))
}

fn unknown(name: &str, nodes: &Path, error: &io::Error) -> CliError {
    let known = names(nodes);
    let remedy = if known.is_empty() {
        "no node has a name there; give its folder with `--home DIR`".to_owned()
    } else {
        format!("write one of `{}`", known.join("`, `"))
    };
    let message = format!("no node is named `{name}` in `{}`", nodes.display());
    CliError::not_found(message).because(error).remedy(remedy)
}

/// Returns the names in the folder; none if the folder cannot be read.
pub(super) fn names(nodes: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(nodes) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn place(home: Option<&str>, node: Option<&str>) -> PlaceArgs {
        PlaceArgs {
            home: home.map(PathBuf::from),
            node: node.map(str::to_owned),
        }
    }

    #[test]
    fn a_name_leads_through_a_link_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = folder.path().join("nodes");
        let home = folder.path().join("home");
        fs::create_dir_all(&nodes).unwrap();
        fs::create_dir_all(&home).unwrap();
        std::os::unix::fs::symlink(&home, nodes.join("linked")).unwrap();
        fs::write(nodes.join("written"), format!("{}\n", home.display())).unwrap();
        let surroundings = Surroundings {
            nodes: Some(nodes.clone()),
            ..Surroundings::default()
        };
        let linked = place(None, Some("linked")).home(&surroundings).unwrap();
        assert_eq!(linked, nodes.join("linked"));
        let written = place(None, Some("written")).home(&surroundings).unwrap();
        assert_eq!(written, home);
        let error = place(None, Some("other")).home(&surroundings).unwrap_err();
        assert_eq!(
            error.remedy.as_deref(),
            Some("write one of `linked`, `written`")
        );
    }

    #[test]
    fn a_name_does_not_leave_its_folder() {
        let surroundings = Surroundings {
            nodes: Some("/nodes".into()),
            ..Surroundings::default()
        };
        for name in ["..", "../x", "/etc", "a/b", "", "."] {
            let error = place(None, Some(name)).home(&surroundings).unwrap_err();
            assert_eq!(error.exit, Exit::Invalid, "{name}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let surroundings = Surroundings {
            node_home: Some("/from-environment".into()),
            ..Surroundings::default()
        };
        let home = |args: PlaceArgs, around: &Surroundings| args.home(around).unwrap();
        assert_eq!(
            home(place(Some("/given"), None), &surroundings),
            Path::new("/given")
        );
        assert_eq!(
            home(place(None, None), &surroundings),
            Path::new("/from-environment")
        );
        assert_eq!(
            home(place(None, None), &Surroundings::default()),
            Path::new(DEFAULT_HOME)
        );
    }
}
