//! The order of modules within each crate: an import never points up, so that no circle exists between files.
//!
//! An arrow runs from a file to each other file of its crate whose items it names, by `use` or by a path, found through
//! re-exports. A module that names its own descendants draws no arrow: it is their face. Lines for tests alone are left
//! out. The last tests show that a circle would be noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// The path of a module from its crate's root.
type Module = Vec<String>;

/// The file modules of a crate, and what each names.
#[derive(Default)]
struct Crate {
    /// The syntax of each file, its lines for tests left out.
    files: BTreeMap<Module, syn::File>,
}

/// Paths that a file names, as segments, and its re-exports by name.
#[derive(Default)]
struct Named {
    paths: Vec<Vec<String>>,
    exports: BTreeMap<String, Vec<String>>,
    /// The inline modules around the place that is visited.
    inline: usize,
}

impl Crate {
    fn add(&mut self, module: &str, text: &str) {
        let module = module.split("::").filter(|part| !part.is_empty());
        let file = syn::parse_file(text).unwrap();
        self.files.insert(module.map(str::to_owned).collect(), file);
    }

    fn of_folder(root: &Path) -> Self {
        let mut found = Self::default();
        for path in sources(root) {
            let relative = path.strip_prefix(root).unwrap().with_extension("");
            let mut parts: Vec<_> = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if matches!(parts.last().unwrap().as_str(), "mod" | "lib" | "main") {
                parts.pop();
            }
            if parts
                .iter()
                .any(|part| part == "tests" || part.ends_with("_tests"))
            {
                continue;
            }
            found.add(&parts.join("::"), &std::fs::read_to_string(&path).unwrap());
        }
        found
    }

    /// The arrows between files, with a name that each takes.
    fn arrows(&self) -> BTreeMap<&Module, BTreeMap<&Module, String>> {
        let named: BTreeMap<&Module, Named> = self
            .files
            .iter()
            .map(|(module, file)| {
                let mut named = Named::default();
                named.visit_file(file);
                (module, named)
            })
            .collect();
        let mut arrows: BTreeMap<&Module, BTreeMap<&Module, String>> = BTreeMap::new();
        for (module, names) in &named {
            for path in &names.paths {
                let Some(path) = absolute(module, path) else {
                    continue;
                };
                let (owner, item) = self.owner(&named, path);
                let is_own = owner.starts_with(module.as_slice());
                if !is_own {
                    arrows
                        .entry(module)
                        .or_default()
                        .entry(owner)
                        .or_insert(item);
                }
            }
        }
        arrows
    }

    /// The file that an item is of, through re-exports.
    fn owner(&self, named: &BTreeMap<&Module, Named>, mut path: Vec<String>) -> (&Module, String) {
        for _ in 0..8 {
            let (owner, rest) = self.split(&path);
            let Some(name) = rest.first() else {
                return (owner, "the module".to_owned());
            };
            let Some(target) = named[owner].exports.get(name) else {
                return (owner, name.clone());
            };
            let relative = match target.first().map(String::as_str) {
                Some("crate" | "self" | "super") => absolute(owner, target),
                Some(child) if self.files.contains_key(&child_of(owner, child)) => {
                    Some([owner.as_slice(), target.as_slice()].concat())
                }
                Some(_) | None => None,
            };
            match relative {
                Some(next) => path = next,
                // Another crate's.
                None => return (owner, name.clone()),
            }
        }
        panic!("`{}` is re-exported in a circle", path.join("::"));
    }

    /// The longest prefix that is a file, and the rest.
    fn split(&self, path: &[String]) -> (&Module, Vec<String>) {
        for length in (0..=path.len()).rev() {
            if let Some((module, _)) = self.files.get_key_value(&path[..length]) {
                return (module, path[length..].to_vec());
            }
        }
        panic!("a crate has a root");
    }

    /// Files that name one another in a circle, in words; nothing if there is none.
    fn circles(&self) -> Vec<String> {
        let arrows = self.arrows();
        let reached = |from: &Module| {
            let mut seen: BTreeSet<&Module> = BTreeSet::new();
            let mut next: Vec<&Module> = arrows
                .get(from)
                .into_iter()
                .flat_map(BTreeMap::keys)
                .copied()
                .collect();
            while let Some(module) = next.pop() {
                if seen.insert(module) {
                    next.extend(
                        arrows
                            .get(module)
                            .into_iter()
                            .flat_map(BTreeMap::keys)
                            .copied(),
                    );
                }
            }
            seen
        };
        let from: BTreeMap<&Module, BTreeSet<&Module>> = self
            .files
            .keys()
            .map(|module| (module, reached(module)))
            .collect();
        let mut found = Vec::new();
        for (module, targets) in &arrows {
            for (target, item) in targets {
                if from[target].contains(module) {
                    found.push(format!("{} -> {}: {item}", shown(module), shown(target)));
                }
            }
        }
        found
    }
}

fn shown(module: &Module) -> String {
    if module.is_empty() {
        "(root)".to_owned()
    } else {
        module.join("::")
    }
}

fn child_of(module: &Module, child: &str) -> Module {
    let mut path = module.clone();
    path.push(child.to_owned());
    path
}

/// A path of `module` from the crate's root; nothing if it is of another crate, or of what is in scope.
fn absolute(module: &Module, path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module.as_slice(), rest].concat()),
        "super" => {
            let mut up = module.clone();
            let mut rest = path;
            while let Some(("super", after)) =
                rest.split_first().map(|(one, after)| (one.as_str(), after))
            {
                up.pop()?;
                rest = after;
            }
            Some([up.as_slice(), rest].concat())
        }
        _ => None,
    }
}

impl Named {
    fn name(&mut self, path: Vec<String>) {
        // In an inline module `super` is the file itself.
        let up = path.iter().take_while(|part| *part == "super").count();
        let inline = self.inline.min(up);
        let path = match path.get(inline..) {
            Some(rest) if inline > 0 && up == inline => {
                [["self".to_owned()].as_slice(), rest].concat()
            }
            Some(rest) => rest.to_vec(),
            None => return,
        };
        self.paths.push(path);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree, exported: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.tree(&before, &path.tree, exported);
            }
            syn::UseTree::Group(group) => {
                for one in &group.items {
                    self.tree(before, one, exported);
                }
            }
            syn::UseTree::Name(name) => self.leaf(before, &name.ident, &name.ident, exported),
            syn::UseTree::Rename(rename) => {
                self.leaf(before, &rename.ident, &rename.rename, exported)
            }
            syn::UseTree::Glob(_) => self.name(before.to_vec()),
        }
    }

    fn leaf(&mut self, before: &[String], name: &syn::Ident, alias: &syn::Ident, exported: bool) {
        let path = if name == "self" {
            before.to_vec()
        } else {
            [before, &[name.to_string()]].concat()
        };
        if exported {
            self.exports.insert(alias.to_string(), path);
        } else {
            self.name(path);
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string().contains("test"))
    })
}

impl<'ast> Visit<'ast> for Named {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            let exported = !matches!(item.vis, syn::Visibility::Inherited) && self.inline == 0;
            self.tree(&[], &item.tree, exported);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.inline += 1;
        syn::visit::visit_item_mod(self, item);
        self.inline -= 1;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_impl(self, item);
        }
    }

    /// `pub(in path)` names who sees, not who is seen.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(
            path.segments
                .iter()
                .map(|one| one.ident.to_string())
                .collect(),
        );
        syn::visit::visit_path(self, path);
    }
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn no_circle_exists_between_the_modules_of_a_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut crates: Vec<PathBuf> = ["protocol", "policy", "scoring", "node", "certs-dev"]
        .map(|name| root.join(name))
        .into();
    let rooms = std::fs::read_dir(root.join("node")).unwrap();
    crates.extend(
        rooms
            .map(|room| room.unwrap().path())
            .filter(|room| room.join("Cargo.toml").exists()),
    );
    assert!(crates.len() > 15, "{crates:?}");
    let mut found = Vec::new();
    for folder in crates {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let circles = Crate::of_folder(&folder.join("src")).circles();
        found.extend(
            circles
                .into_iter()
                .map(|circle| format!("{name}: {circle}")),
        );
    }
    assert!(
        found.is_empty(),
        "imports that point up:\n{}",
        found.join("\n")
    );
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let mut made = Crate::default();
    for (module, text) in files {
        made.add(module, text);
    }
    assert_eq!(made.circles(), expected);
}

#[test]
fn a_circle_of_three_files_is_noticed() {
    check(
        &[
            ("", "mod a; mod b; mod c;"),
            ("a", "use crate::b::B;"),
            ("b", "struct B; fn f() { super::c::g() }"),
            ("c", "pub fn g() -> crate::a::A { todo!() }"),
        ],
        &["a -> b: B", "b -> c: g", "c -> a: A"],
    );
}

#[test]
fn a_circle_through_a_re_export_or_an_inline_module_is_noticed() {
    check(
        &[
            ("", "mod a; mod b; pub use a::A;"),
            ("a", "pub struct A; mod inner { use super::super::b::B; }"),
            ("b", "use crate::A; pub struct B;"),
        ],
        &["a -> b: B", "b -> a: A"],
    );
}

#[test]
fn a_face_and_tests_draw_no_arrow() {
    check(
        &[
            ("", "mod a; use self::a::A;"),
            (
                "a",
                "mod deep; pub struct A; #[cfg(test)] mod tests { use crate::b::B; }",
            ),
            ("a::deep", "use super::A; use crate::Root;"),
            ("b", "use crate::a::A; pub struct B;"),
        ],
        &[],
    );
}
