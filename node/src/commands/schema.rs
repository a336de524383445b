//! `portcullis schema`: explains and checks the schema of the authority's own consignments.

use std::{fs, io, path::PathBuf};

use portcullis_cli::{
    Session,
    error::CliError,
    exit_codes,
    output::{Column, Page, Table, View},
};
use portcullis_desk::{Setup, SetupError, import, shipped::Shipped};
use portcullis_home::{Home, files};
use serde::Serialize;

/// The commands on schemas.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SchemaCommand {
    Show(Show),
    Check(Check),
}

/// Name of a shipped schema, as the command line takes it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum SchemaName {
    Port,
    CustomsKr,
}

impl From<SchemaName> for Shipped {
    fn from(name: SchemaName) -> Self {
        match name {
            SchemaName::Port => Self::Port,
            SchemaName::CustomsKr => Self::CustomsKr,
        }
    }
}

/// Explain the columns of a schema, one by one
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Explain the columns that a file of consignments has: what each is, in which form, whether it is an \
identifier that indicators can name, and an example. Without a name it is the schema of the node, which \
is the file `schema.toml` of its home, or that of the shipped data set if there is none.

With `--csv` it prints a header line and a line of examples, as a file to begin with.",
    after_long_help = "\
Examples:
  portcullis schema show
  portcullis schema show port
  portcullis schema show port --csv > consignments.csv
  portcullis schema show my-schema.toml --json"
)]
pub(super) struct Show {
    /// A shipped schema (`port`, `customs-kr`) or a file [default: the node's]
    #[arg(value_name = "NAME|FILE")]
    schema: Option<PathBuf>,
    /// Print a header line and a line of examples
    #[arg(long)]
    csv: bool,
}

/// Check a schema before a node starts with it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Check a schema: that it parses, that every role, level and identifier names a field, and that its \
examples are a consignment. A node with a schema that does not hold does not start.",
    after_long_help = "\
Examples:
  portcullis schema check
  portcullis schema check my-schema.toml"
)]
pub(super) struct Check {
    /// A shipped schema (`port`, `customs-kr`) or a file [default: the node's]
    #[arg(value_name = "NAME|FILE")]
    schema: Option<PathBuf>,
}

impl SchemaCommand {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Show(show) => {
                let (setup, from) = load(session, show.schema)?;
                let view = SchemaView::of(&setup, from);
                if show.csv {
                    return session.output.raw(view.csv().as_bytes());
                }
                session.output.show(&view)
            }
            Self::Check(check) => {
                let (setup, from) = load(session, check.schema)?;
                session.output.show(&checked(&setup, from)?)
            }
        }
    }
}

/// Loads the schema that is named, and says where it is from.
fn load(session: &Session, named: Option<PathBuf>) -> Result<(Setup, String), CliError> {
    let Some(named) = named else {
        return of_home(session);
    };
    if let Some(shipped) = named.to_str().and_then(Shipped::named) {
        let from = "shipped".to_owned();
        return Ok((parsed(shipped.text(), shipped.name().to_owned())?, from));
    }
    if !named.exists() {
        let names = Shipped::ALL.map(|one| format!("`{}`", one.name()));
        let message = format!("`{}` is no shipped schema and no file", named.display());
        return Err(
            CliError::invalid(message).remedy(format!("name {} or a file", names.join(", ")))
        );
    }
    let path = named.display().to_string();
    let text = files::read_text(&named)?;
    Ok((parsed(&text, path.clone())?, path))
}

fn of_home(session: &Session) -> Result<(Setup, String), CliError> {
    let home = Home::new(session.home()?);
    if !fs::exists(home.folder()).is_ok_and(|is_there| is_there) {
        let message = format!("there is no node in `{}`", home.folder().display());
        return Err(CliError::invalid(message)
            .remedy("name its home with `--home`, or a schema: `portcullis schema show port`"));
    }
    let from = if home.schema().exists() {
        home.schema().display().to_string()
    } else {
        "shipped: the home has no `schema.toml`".to_owned()
    };
    Ok((Setup::load(home.folder()).map_err(refused)?, from))
}

fn parsed(text: &str, path: String) -> Result<Setup, CliError> {
    Setup::of_schema(text, path).map_err(refused)
}

fn refused(error: SetupError) -> CliError {
    match error {
        SetupError::File(error) => error.into(),
        error @ SetupError::Schema { .. } => {
            exit_codes::told(portcullis_cli::exit::Exit::Invalid, &error)
                .remedy("correct the file; docs/consignments.md explains each key")
        }
    }
}

/// Checks what parsing alone does not: that the examples are a consignment.
fn checked(setup: &Setup, from: String) -> Result<CheckedView, CliError> {
    let schema = &setup.schema;
    let mut notes = Vec::new();
    match import::examples(schema) {
        Ok(Some(_)) => {}
        Ok(None) => notes.push("a field that must have a value has no `example`".to_owned()),
        Err(error) => {
            return Err(CliError::invalid(format!(
                "the examples of the schema are no consignment: {}",
                error.without_line()
            ))
            .remedy("correct the `example` of that column"));
        }
    }
    if schema.identifiers().is_empty() {
        notes.push(
            "no field is an identifier: no indicator of anybody meets a consignment".to_owned(),
        );
    }
    let unexplained = schema
        .fields()
        .iter()
        .filter(|field| field.about().is_none());
    match unexplained.count() {
        0 => {}
        1 => notes.push("one field has no `about`".to_owned()),
        several => notes.push(format!("{several} fields have no `about`")),
    }
    Ok(CheckedView {
        name: schema.name().to_owned(),
        from,
        fields: schema.fields().len(),
        identifiers: schema.identifiers().len(),
        levels: schema.levels().len(),
        notes,
    })
}

/// A schema that holds, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct CheckedView {
    name: String,
    /// Where it is from: a path, or that it is shipped.
    from: String,
    fields: usize,
    identifiers: usize,
    levels: usize,
    /// What could be better.
    notes: Vec<String>,
}

impl View for CheckedView {
    const SCHEMA: &'static str = "portcullis/schema-check/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("schema `{}` holds ({})", self.name, self.from))?;
        page.line(format!(
            "  {} fields, {} identifiers, {} levels",
            self.fields, self.identifiers, self.levels
        ))?;
        let mut notes = self.notes.iter();
        notes.try_for_each(|note| page.line(format!("  note: {note}")))
    }
}

/// A schema, explained, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct SchemaView {
    name: String,
    /// Where it is from: a path, or that it is shipped.
    from: String,
    fields: Vec<FieldView>,
    levels: Vec<String>,
}

/// A field of a schema.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct FieldView {
    column: String,
    name: String,
    about: Option<String>,
    format: String,
    optional: bool,
    /// Kind of identifier that indicators can name.
    identifier: Option<&'static str>,
    /// What the program needs it for: reference, office, date, finding.
    roles: Vec<&'static str>,
    example: Option<String>,
}

impl SchemaView {
    fn of(setup: &Setup, from: String) -> Self {
        let schema = &setup.schema;
        let fields = schema.fields().iter().map(|field| {
            let identifier = schema.identifier_of(field);
            let digits = field.digits().map(|digits| format!("{digits} digits"));
            let format = match field.kind().name() {
                "date" => "day, YYYY-MM-DD",
                "flag" => "0 or 1",
                "decimal" => "number",
                other => other,
            };
            FieldView {
                column: field.column().to_owned(),
                name: field.name().to_owned(),
                about: field.about().map(str::to_owned),
                format: digits.unwrap_or_else(|| format.to_owned()),
                optional: field.is_optional(),
                identifier: identifier.map(|rule| rule.kind().name()),
                roles: schema.roles_of(field),
                example: field.example().map(str::to_owned),
            }
        });
        let levels = schema.levels().iter().map(|level| level.name().to_owned());
        Self {
            name: schema.name().to_owned(),
            from,
            fields: fields.collect(),
            levels: levels.collect(),
        }
    }

    /// Returns a header line and a line of examples.
    fn csv(&self) -> String {
        let line = |values: &mut dyn Iterator<Item = &str>| {
            let quoted = values.map(|value| {
                if value.contains([',', '"', '\n', '\r']) {
                    format!("\"{}\"", value.replace('"', "\"\""))
                } else {
                    value.to_owned()
                }
            });
            quoted.collect::<Vec<_>>().join(",")
        };
        let header = line(&mut self.fields.iter().map(|field| field.column.as_str()));
        let examples = self.fields.iter();
        let examples = examples.map(|field| field.example.as_deref().unwrap_or_default());
        format!("{header}\n{}\n", line(&mut { examples }))
    }
}

impl View for SchemaView {
    const SCHEMA: &'static str = "portcullis/schema/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("schema `{}` ({})", self.name, self.from))?;
        let mut table = Table::new(&[
            Column::Text("COLUMN"),
            Column::Text("FORMAT"),
            Column::Text("NEEDED"),
            Column::Text("IDENTIFIER"),
            Column::Text("EXAMPLE"),
            Column::Text("WHAT IT IS"),
        ])
        .yielding(&["NEEDED", "EXAMPLE"])
        .wrapping(&["WHAT IT IS"]);
        for field in &self.fields {
            let needed = if field.optional { "no" } else { "yes" };
            table.row([
                field.column.as_str(),
                &field.format,
                needed,
                field.identifier.unwrap_or("-"),
                field.example.as_deref().unwrap_or("-"),
                field.about.as_deref().unwrap_or("-"),
            ]);
        }
        page.table(&table)?;
        let role = |role: &str| {
            let mut fields = self.fields.iter();
            let field = fields.find(|field| field.roles.contains(&role));
            field.map(|field| field.column.clone()).unwrap_or_default()
        };
        page.heading("used as")?;
        page.pairs(&[
            ("reference", role("reference")),
            ("office", role("office")),
            ("date", role("date")),
            ("finding", role("finding")),
            ("levels of the profile", self.levels.join(", ")),
        ])
    }
}
