//! Compiles the public contract in `proto/` without a system `protoc`: the generated types, and the
//! shape of every message, which tells a strict reader the fields that this version knows.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Numbers of the types of a field in a descriptor (google/protobuf/descriptor.proto).
mod kind {
    pub(super) const INT64: i32 = 3;
    pub(super) const UINT64: i32 = 4;
    pub(super) const FIXED64: i32 = 6;
    pub(super) const BOOL: i32 = 8;
    pub(super) const STRING: i32 = 9;
    pub(super) const MESSAGE: i32 = 11;
    pub(super) const BYTES: i32 = 12;
    pub(super) const UINT32: i32 = 13;
    pub(super) const ENUM: i32 = 14;
}

/// Number of the label of a repeated field in a descriptor.
const REPEATED: i32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "portcullis/v1/record.proto",
        "portcullis/v1/register.proto",
        "portcullis/v1/gossip.proto",
        "portcullis/v1/reconcile.proto",
        "portcullis/v1/exchange.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let mut enums = BTreeMap::new();
    for file in &descriptors.file {
        for listed in &file.enum_type {
            let values: Vec<_> = listed.value.iter().map(|value| value.number()).collect();
            enums.insert(listed.name().to_owned(), values);
        }
    }
    let mut shapes = String::new();
    for message in descriptors.file.iter().flat_map(|file| &file.message_type) {
        let mut fields = String::new();
        for field in &message.field {
            let named = field.type_name().rsplit('.').next().unwrap_or_default();
            let holds = match field.r#type.unwrap_or_default() {
                kind::BOOL => "Holds::Number { most: 1 }".to_owned(),
                kind::UINT32 => "Holds::Number { most: u32::MAX as u64 }".to_owned(),
                kind::INT64 | kind::UINT64 => "Holds::Number { most: u64::MAX }".to_owned(),
                kind::FIXED64 => "Holds::Fixed".to_owned(),
                kind::STRING | kind::BYTES => "Holds::Bytes".to_owned(),
                kind::ENUM => format!("Holds::Named(&{:?})", enums.get(named).ok_or("no enum")?),
                kind::MESSAGE => format!("Holds::Message(&{})", constant(named)),
                other => return Err(format!("a field has type {other}").into()),
            };
            let (number, name) = (field.number(), field.name());
            let repeated = field.label == Some(REPEATED);
            let most = format!("most({:?}, {name:?})", message.name());
            writeln!(
                fields,
                "        Field {{ number: {number}, name: {name:?}, repeated: {repeated}, most: {most}, holds: {holds} }},"
            )?;
        }
        let name = message.name();
        writeln!(
            shapes,
            "static {}: Shape = Shape {{ name: {name:?}, fields: &[\n{fields}] }};\n\
             impl Shaped for wire::{name} {{ fn shape() -> &'static Shape {{ &{} }} }}",
            constant(name),
            constant(name),
        )?;
    }
    let out: PathBuf = env::var_os("OUT_DIR").ok_or("no OUT_DIR")?.into();
    write(&out, "shapes.rs", &shapes)?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}

/// Returns `SIGNED_STATEMENT` for `SignedStatement`.
fn constant(message: &str) -> String {
    let mut name = String::new();
    for (at, character) in message.chars().enumerate() {
        if character.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

fn write(folder: &Path, name: &str, content: &str) -> Result<(), Box<dyn Error>> {
    fs::write(folder.join(name), content)?;
    Ok(())
}
