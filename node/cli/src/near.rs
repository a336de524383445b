//! Proposals for what was mistyped on the command line: those that are near, and no others.
//!
//! The parser proposes whatever shares some letters, for instance `alert` for `export`. A proposal that nobody can
//! have meant is worse than none.

use clap::error::{ContextKind, ContextValue};

/// Leaves those proposals alone that differ from what was written by one letter, or two in a long word, or that
/// begin with it.
pub(super) fn keep_only_near(error: &mut clap::Error) {
    for (written, proposed) in [
        (
            ContextKind::InvalidSubcommand,
            ContextKind::SuggestedSubcommand,
        ),
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        (ContextKind::InvalidValue, ContextKind::SuggestedValue),
    ] {
        let Some(word) = words(error.get(written)).into_iter().next() else {
            continue;
        };
        let Some(all) = error.remove(proposed) else {
            continue;
        };
        let mut near = words(Some(&all));
        near.retain(|one| is_near(&word, one));
        if matches!(all, ContextValue::Strings(_)) && !near.is_empty() {
            error.insert(proposed, ContextValue::Strings(near));
        } else if let Some(one) = near.into_iter().next() {
            error.insert(proposed, ContextValue::String(one));
        }
    }
}

fn words(value: Option<&ContextValue>) -> Vec<String> {
    if let Some(ContextValue::Strings(words)) = value {
        return words.clone();
    }
    if let Some(ContextValue::String(word)) = value {
        return vec![word.clone()];
    }
    Vec::new()
}

fn is_near(written: &str, proposed: &str) -> bool {
    let bare = |word: &str| word.trim_start_matches('-').to_lowercase();
    let (written, proposed) = (bare(written), bare(proposed));
    let allowed = match written.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let begins = written.chars().count() > 2 && proposed.starts_with(&written);
    begins || strsim::osa_distance(&written, &proposed) <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcomer B23: the proposals were comic.
    #[test]
    fn what_nobody_can_have_meant_is_not_proposed() {
        for (written, proposed) in [
            ("export", "alert"),
            ("search", "watch"),
            ("config", "consignment"),
            ("logs", "tls"),
            ("--tlp", "--help"),
            ("--reason", "--json"),
        ] {
            assert!(!is_near(written, proposed), "{written} is no {proposed}");
        }
        for (written, proposed) in [
            ("chekc", "check"),
            ("--colour", "--color"),
            ("lsit", "list"),
            ("indicators", "indicator"),
            ("logs", "log"),
            ("quaran", "quarantine"),
            ("setings", "settings"),
        ] {
            assert!(is_near(written, proposed), "{written} may be {proposed}");
        }
    }
}
