//! Files as people save them, with what must come of each.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::*;

/// Rows of a sheet: line and values.
type Read = Vec<(u64, Vec<String>)>;

fn read_with(bytes: &[u8], options: Options) -> Result<(Reading, Vec<String>, Read), SheetError> {
    let sheet = Sheet::read(bytes, options)?;
    let mut rows = sheet.rows()?;
    let columns = rows.columns().to_vec();
    let mut read = Vec::new();
    while let Some(row) = rows.next_row()? {
        read.push((row.line, row.values.iter().map(str::to_owned).collect()));
    }
    Ok((sheet.reading(), columns, read))
}

fn read(bytes: &[u8]) -> Result<(Reading, Vec<String>, Read), SheetError> {
    read_with(bytes, Options::default())
}

#[track_caller]
fn reads(bytes: &[u8], said: &str, rows: &[(u64, &[&str])]) {
    let (reading, _, read) = read(bytes).unwrap();
    assert_eq!(reading.to_string(), said);
    let rows: Read = rows
        .iter()
        .map(|(line, values)| {
            (
                *line,
                values.iter().map(|value| (*value).to_owned()).collect(),
            )
        })
        .collect();
    assert_eq!(read, rows);
}

#[track_caller]
fn refuses(bytes: &[u8], says: &str) {
    assert_eq!(read(bytes).unwrap_err().to_string(), says);
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

/// Bug 17, newcomer B5: semicolons and tabs were unknown columns.
#[test]
fn separators_are_found_in_the_header_and_told() {
    reads(b"a,b\n1,2\n", "comma, UTF-8, 2 lines", &[(2, &["1", "2"])]);
    reads(
        b"a;b\n1;2\n",
        "semicolon, UTF-8, 2 lines",
        &[(2, &["1", "2"])],
    );
    reads(b"a\tb\n1\t2\n", "tab, UTF-8, 2 lines", &[(2, &["1", "2"])]);
    reads(b"a\n1\n", "comma, UTF-8, 2 lines", &[(2, &["1"])]);
    // A separator within quotes divides nothing.
    reads(
        b"\"a;b;c\",d\n1,2\n",
        "comma, UTF-8, 2 lines",
        &[(2, &["1", "2"])],
    );
    // Decimal commas stand in a file with semicolons.
    reads(
        b"a;b\n1,5;2,25\n",
        "semicolon, UTF-8, 2 lines",
        &[(2, &["1,5", "2,25"])],
    );
}

/// Bug 17: `sep=` lines.
#[test]
fn a_separator_line_is_heeded_and_counted() {
    for first in ["sep=;", "SEP=;", "\"sep=;\""] {
        let file = format!("{first}\r\na;b\r\n1;2\r\n");
        reads(
            file.as_bytes(),
            "semicolon, UTF-8, 3 lines",
            &[(3, &["1", "2"])],
        );
    }
    reads(
        b"sep=\t\na\tb\n1\t2",
        "tab, UTF-8, 3 lines",
        &[(3, &["1", "2"])],
    );
}

/// Bug 17, newcomer B5: UTF-16 and Windows-1252 were no UTF-8.
#[test]
fn encodings_are_found_and_told() {
    let text = "a,b\r\ncafé,\u{20ac}\r\n";
    let rows: &[(u64, &[&str])] = &[(2, &["café", "\u{20ac}"])];
    reads(text.as_bytes(), "comma, UTF-8, 2 lines", rows);
    reads(
        &[b"\xef\xbb\xbf", text.as_bytes()].concat(),
        "comma, UTF-8, 2 lines",
        rows,
    );
    let (little, big) = (utf16(text, u16::to_le_bytes), utf16(text, u16::to_be_bytes));
    reads(&little, "comma, UTF-16LE, 2 lines", rows);
    reads(&big, "comma, UTF-16BE, 2 lines", rows);
    reads(
        &[b"\xff\xfe", &*little].concat(),
        "comma, UTF-16LE, 2 lines",
        rows,
    );
    reads(
        &[b"\xfe\xff", &*big].concat(),
        "comma, UTF-16BE, 2 lines",
        rows,
    );
    reads(
        b"a,b\r\ncaf\xe9,\x80\r\n",
        "comma, Windows-1252, 2 lines",
        rows,
    );
}

#[test]
fn what_is_given_overrules_what_is_found() {
    let options = Options {
        separator: Some(Separator::Comma),
        encoding: Some(Encoding::Windows1252),
    };
    let (reading, columns, rows) = read_with("a;b,c\né;1,2\n".as_bytes(), options).unwrap();
    assert_eq!(reading.to_string(), "comma, Windows-1252, 2 lines");
    assert_eq!(columns, ["a;b", "c"]);
    assert_eq!(rows[0].1, ["Ã©;1", "2"]);
    let utf8 = Options {
        encoding: Some(Encoding::Utf8),
        ..Options::default()
    };
    let error = read_with(b"a\ncaf\xe9\n", utf8).unwrap_err();
    assert_eq!(error.to_string(), "this is no UTF-8 text");
    assert!(error.remedy().contains("--encoding"));
}

/// Bug 13: lines were counted as records.
#[test]
fn lines_are_those_of_the_file() {
    for ending in ["\n", "\r\n", "\r"] {
        let file = [
            "# a feed", "", "a,b", "1,\"x", "y", "z\"", "", ",", "# more", "2,w",
        ]
        .join(ending);
        let inner = format!("x{ending}y{ending}z");
        reads(
            file.as_bytes(),
            "comma, UTF-8, 10 lines, 2 comments left out",
            &[(4, &["1", &inner]), (10, &["2", "w"])],
        );
    }
}

/// Bug 1: one missing quote lost all lines below it.
#[test]
fn a_quote_that_never_ends_is_refused_where_it_begins() {
    refuses(
        b"container,text\nZZZU1000015,\"no end\nZZZU1000020,two\n",
        "line 2, column `2`: the quote that begins here never ends",
    );
    // It ends at the next quote, far below, where text follows it.
    refuses(
        b"container,text\nZZZU1000015,\"no end\nZZZU1000020,\"two\"\n",
        "line 3, column `2`: text follows the closing quote of a value",
    );
    refuses(
        b"a,b\n1, \"x,y\"\n",
        "line 2, column `2`: a blank stands before the quote at the beginning of a value",
    );
    refuses(
        b"a,b\n\"x\" \"y\",1\n",
        "line 2, column `1`: text follows the closing quote of a value",
    );
    reads(
        b"a,b\n\"x\"\"y\" ,5\" pipe\n",
        "comma, UTF-8, 2 lines",
        &[(2, &["x\"y", "5\" pipe"])],
    );
}

/// Bug 14: a control character was seen when publishing only.
#[test]
fn control_characters_are_refused_with_their_place() {
    refuses(
        b"a,b\n1,2\n3,x\x07y\n",
        "line 3, column `2`: it has a control character, U+0007",
    );
    refuses(
        "a,b\n1,x\u{85}\n".as_bytes(),
        "line 2, column `2`: it has a control character, U+0085",
    );
    refuses(
        b"a,b\n1,\x81\n",
        "line 2, column `2`: it has a control character, U+0081",
    );
    // A no-break space begins with the same byte.
    reads(
        "a,b\n1,x\u{a0}y\n".as_bytes(),
        "comma, UTF-8, 2 lines",
        &[(2, &["1", "x\u{a0}y"])],
    );
}

#[test]
fn a_value_without_end_is_refused() {
    let file = format!("a\n1\n{}\n", "x".repeat(MOST_CHARACTERS + 1));
    refuses(
        file.as_bytes(),
        "line 3, column `1`: it has over 65536 characters",
    );
}

/// Bug 17: a trailing comma was an unknown column without a name.
#[test]
fn a_column_without_a_name_may_have_no_value() {
    reads(
        b"a,b,\n1,2,\n3,4,,,\n",
        "comma, UTF-8, 3 lines",
        &[(2, &["1", "2"]), (3, &["3", "4"])],
    );
    refuses(
        b"a,b,\n1,2,lost\n",
        "line 2, column `3`: a value stands in a column that has no name",
    );
    refuses(
        b"a,,,b\n1,,lost,2\n",
        "line 2, column `3`: a value stands in a column that has no name",
    );
}

#[test]
fn rows_are_as_wide_as_the_header() {
    refuses(
        b"a,b\n1,2\n\n3\n",
        "line 4: 1 values where the header has 2 columns",
    );
    refuses(
        b"a,b\n1,2,3,4\n",
        "line 2: 4 values where the header has 2 columns",
    );
    refuses(
        b"a,b,A\n1,2,3\n",
        "line 1: the header has the column `A` twice",
    );
}

#[test]
fn reading_goes_on_after_a_wrong_row() {
    let sheet = Sheet::read(b"a,b\n1\n3,4\n", Options::default()).unwrap();
    let mut rows = sheet.rows().unwrap();
    assert_eq!(rows.next_row().unwrap_err().line, 2);
    assert_eq!(rows.next_row().unwrap().unwrap().line, 3);
    assert!(rows.next_row().unwrap().is_none());
}

#[test]
fn files_without_anything_are_told_apart() {
    for empty in ["", "\n\n", "# a comment\n", ",,\n", "\u{feff}"] {
        refuses(empty.as_bytes(), "the file is empty");
    }
    refuses(b"a,b\n", "the file has a header and no rows");
    refuses(b"a,b\n# none\n\n", "the file has a header and no rows");
}

/// Newcomer B5: a workbook was an unknown column `PK`.
#[test]
fn what_is_no_csv_file_is_named() {
    refuses(
        b"PK\x03\x04rest",
        "this is a workbook (.xlsx, .ods) or a zip archive and no CSV file",
    );
    refuses(
        b"\xd0\xcf\x11\xe0rest",
        "this is an old Excel workbook (.xls) and no CSV file",
    );
}

#[test]
fn a_packed_file_reads_like_a_plain_one() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(b"a;b\n1;2\n").unwrap();
    let packed = packer.finish().unwrap();
    reads(
        &packed,
        "gzip, semicolon, UTF-8, 2 lines",
        &[(2, &["1", "2"])],
    );
    refuses(
        &packed[..packed.len() - 12],
        "the packed file is cut or damaged",
    );
    // Two members are one file (RFC 1952).
    let mut more = GzEncoder::new(Vec::new(), Compression::fast());
    more.write_all(b"3;4\n").unwrap();
    let both = [packed, more.finish().unwrap()].concat();
    reads(
        &both,
        "gzip, semicolon, UTF-8, 3 lines",
        &[(2, &["1", "2"]), (3, &["3", "4"])],
    );
}
