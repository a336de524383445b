//! Flags for drafts: the content of a record, its subject, and its markings.
//!
//! `indicator publish`, `alert raise`, `advisory publish` and `policy preview` share the flags.
//! Errors in an identifier are reported here, with near matches, before the node is asked.

pub(super) mod identifier;
pub(super) mod marking;
pub(super) mod rehearsal;

use std::{fs, io::Read as _};

use portcullis_protocol::{body::Window, identifiers::UnLocode, record::Kind, time::Timestamp};

use super::error::CliError;
use identifier::{IdentifierArgs, Strictness};
use marking::MarkingArgs;
use portcullis_admin_api::{
    threats,
    v1::draft::{AssessmentView, DraftView, PersonView, SubjectView},
};

/// Largest number of bytes that are read for a text of a record.
const LONGEST_TEXT: u64 = 1 << 20;

/// What the record says.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DraftArgs {
    #[command(flatten)]
    pub(super) identifiers: IdentifierArgs,
    #[command(flatten)]
    pub(super) content: ContentArgs,
    #[command(flatten)]
    pub(super) marking: MarkingArgs,
}

/// The words of a record. A value that begins with `@` names a file to read, `@-` standard input.
#[derive(Debug, Clone, clap::Args)]
#[command(
    next_help_heading = "What it says (a text that begins with @ names a file, @- standard input)"
)]
pub(super) struct ContentArgs {
    /// The threat, by a word of the common vocabulary: narcotics, weapons, tobacco, undeclared-goods, …
    #[arg(
        long,
        value_name = "WORD",
        default_value = "unspecified",
        conflicts_with = "threat_other"
    )]
    pub(super) threat: String,
    /// The threat, by a word that the common vocabulary lacks
    #[arg(long, value_name = "WORD")]
    pub(super) threat_other: Option<String>,
    /// A line for people, shown with the subject
    #[arg(
        long,
        value_name = "LINE",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) title: String,
    /// The assessment in words
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) text: String,
    /// The story: a section of its own, which can be withheld
    #[arg(long, value_name = "TEXT")]
    pub(super) narrative: Option<String>,
    /// Where it comes from: a section of its own, which can be withheld
    #[arg(long, value_name = "TEXT")]
    pub(super) source: Option<String>,
    /// A person concerned, as NAME;PART;CATEGORY, the category suspect, convicted, victim or other
    #[arg(long, value_name = "PERSON")]
    pub(super) person: Vec<String>,
    /// A port it concerns, as UN/LOCODE; without it, all
    #[arg(long, value_name = "LOCODE", value_delimiter = ',')]
    pub(super) audience: Vec<UnLocode>,
    /// A record it was made from, by its whole id
    #[arg(long, value_name = "ID")]
    pub(super) derived_from: Vec<String>,
    /// The record it replaces, by its whole id
    #[arg(long, value_name = "ID")]
    pub(super) supersedes: Option<String>,
    /// Mark it as part of an exercise
    #[arg(long)]
    pub(super) exercise: bool,
    /// Let it show whether there is a source and persons; without this, absent ones look withheld
    #[arg(long)]
    pub(super) no_decoys: bool,
}

impl DraftArgs {
    /// Makes the draft of a record of this kind.
    ///
    /// # Errors
    ///
    /// [`CliError`] with exit code 3 says what is wrong with the input.
    pub(super) fn draft(self, kind: Kind) -> Result<DraftView, CliError> {
        let Self {
            identifiers,
            content,
            marking,
        } = self;
        let selectors = identifiers.selectors()?;
        let threat = threat(&content.threat, content.threat_other.as_deref())?;
        if selectors.is_empty() && kind != Kind::Advisory {
            return Err(CliError::invalid(format!("an {kind} is about something"))
                .remedy("name at least one identifier, for instance `--container CSQU3054383`"));
        }
        let subject = (!selectors.is_empty()).then(|| SubjectView {
            title: content.title.clone(),
            selectors,
            generated: identifiers.generated,
        });
        let title = if subject.is_none() {
            content.title
        } else {
            String::new()
        };
        Ok(DraftView {
            kind: kind.to_string(),
            exercise: content.exercise,
            audience: content.audience.iter().map(ToString::to_string).collect(),
            marking: marking.view()?,
            evaluation: marking.evaluation(),
            derived_from: content.derived_from,
            supersedes: content.supersedes,
            subject,
            assessment: AssessmentView {
                threat,
                finding: None,
                text: joined(&title, &text(&content.text)?),
            },
            narrative: content.narrative.as_deref().map(text).transpose()?,
            source: content.source.as_deref().map(text).transpose()?,
            persons: content
                .person
                .iter()
                .map(|person| person_view(person))
                .collect::<Result<_, _>>()?,
            decoys: !content.no_decoys,
        })
    }
}

/// Returns the word for a threat: of the vocabulary, or the authority's own.
///
/// # Errors
///
/// [`CliError`] with exit code 3 names near words.
pub(super) fn threat(word: &str, other: Option<&str>) -> Result<String, CliError> {
    let read = match other {
        Some(other) => threats::own_word(other),
        None => threats::word(word).map(str::to_owned),
    };
    read.map_err(|error| {
        let words: Vec<&str> = threats::WORDS.iter().map(|(word, _)| *word).collect();
        CliError::invalid(error.to_string()).remedy(format!(
            "write one of {}; a word that is not among them with `--threat-other`",
            words.join(", ")
        ))
    })
}

/// Joins title and text. A record without a subject shows its title before its text.
fn joined(title: &str, text: &str) -> String {
    match (title, text) {
        ("", text) => text.to_owned(),
        (title, "") => title.to_owned(),
        (title, text) => format!("{title}\n\n{text}"),
    }
}

/// Returns the text itself, or the content of the file that it names.
pub(super) fn text(given: &str) -> Result<String, CliError> {
    let Some(name) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    let mut read = String::new();
    let result = if name == "-" {
        std::io::stdin()
            .lock()
            .take(LONGEST_TEXT)
            .read_to_string(&mut read)
    } else {
        fs::File::open(name).and_then(|file| file.take(LONGEST_TEXT).read_to_string(&mut read))
    };
    result.map_err(|error| {
        CliError::invalid(format!("`{name}` cannot be read"))
            .because(&error)
            .remedy("name a text file in UTF-8, or write the text itself")
    })?;
    Ok(read.trim_end().to_owned())
}

fn person_view(given: &str) -> Result<PersonView, CliError> {
    let mut parts = given.split(';').map(str::trim);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(role), Some(category), None) if !name.is_empty() => Ok(PersonView {
            name: name.to_owned(),
            role: role.to_owned(),
            category: category.to_owned(),
        }),
        _ => Err(CliError::invalid("a person is written NAME;PART;CATEGORY")
            .remedy("write for instance `--person 'J. Doe;driver;suspect'`")),
    }
}

/// Makes a time window from its two ends.
///
/// # Errors
///
/// [`CliError`] if only one end is given, or the window ends before it begins.
pub(super) fn window(
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Option<Window>, CliError> {
    match (from, until) {
        (None, None) => Ok(None),
        (Some(from), Some(until)) if from < until => Ok(Some(Window { from, until })),
        (Some(from), Some(until)) if from == until => {
            Err(CliError::invalid("the time window has no length")
                .remedy("name a later `until`; a bare day, as in `2021-03-31`, counts to its end"))
        }
        (Some(_), Some(_)) => Err(CliError::invalid("the time window ends before it begins")
            .remedy("exchange `--from` and `--until`")),
        (Some(_), None) | (None, Some(_)) => Err(CliError::invalid("a time window has two ends")
            .remedy("give both `--from TIME` and `--until TIME`")),
    }
}

impl From<bool> for Strictness {
    fn from(accept_unchecked: bool) -> Self {
        if accept_unchecked {
            Self::AcceptUnchecked
        } else {
            Self::CheckDigits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_window_has_two_ends_in_order() {
        let time = |text: &str| text.parse().ok();
        assert_eq!(window(None, None), Ok(None));
        assert!(window(time("2021-03-01"), time("2021-03-02")).is_ok());
        let ends = [
            (time("2021-03-02"), time("2021-03-01")),
            (time("2021-03-02"), None),
        ];
        for (from, until) in ends {
            assert_eq!(window(from, until).unwrap_err().exit, Exit::Invalid);
        }
    }

    #[test]
    fn a_person_is_written_in_three_parts() {
        let person = person_view("J. Doe; driver; suspect").unwrap();
        assert_eq!(
            (person.role.as_str(), person.category.as_str()),
            ("driver", "suspect")
        );
        for wrong in ["", "J. Doe", "a;b", "a;b;c;d", ";b;c"] {
            assert!(person_view(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("story.txt");
        fs::write(&file, "once\n\n").unwrap();
        assert_eq!(text(&format!("@{}", file.display())).unwrap(), "once");
        assert_eq!(text("plain").unwrap(), "plain");
        assert!(text("@/nowhere/at/all").is_err());
    }
}
