//! The files of one top-level module import each other without cycles.
//!
//! A `mod.rs` declares its parts and puts them together, so its own imports do not count. A name that it re-exports stands for
//! the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::paths::{expand, paths};
use super::{Source, sources};

/// A module's path below `crate`, and its file.
type Modules<'a> = BTreeMap<Vec<String>, &'a Source>;

/// The path of the module that a file defines.
fn module(path: &Path) -> Vec<String> {
    let below_src = path.strip_prefix("src").unwrap().with_extension("");
    let segments = below_src.iter().map(|segment| segment.to_string_lossy().into_owned());
    segments.filter(|segment| segment != "mod").collect()
}

/// Replaces `crate`, `super` and `self` at the beginning of a path, as seen from `module`.
fn absolute(path: &[String], module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut segments = path.iter().peekable();
    while let Some(segment) = segments.next_if(|segment| ["crate", "super", "self"].contains(&segment.as_str())) {
        match segment.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            _ => {}
        }
    }
    base.extend(segments.cloned());
    base
}

/// The module whose file defines the item at `path`.
fn definition(path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let length = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let (found, rest) = path.split_at(length);
    let source = modules[found];
    let re_exported = rest.first().filter(|_| source.path.ends_with("mod.rs")).and_then(|name| re_export(source, name));
    match re_exported {
        Some(target) => definition(&[found, &target].concat(), modules),
        None => Some(found.to_vec()),
    }
}

/// The path, relative to a `mod.rs`, from which it imports `name` out of one of its parts.
fn re_export(source: &Source, name: &str) -> Option<Vec<String>> {
    let code = source.code().collect::<Vec<_>>().join("\n");
    let parts: Vec<&str> = code.lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';')).collect();
    let mut imports = Vec::new();
    for (_, import) in code.split("use ").map(|import| ((), import.split(';').next().unwrap_or_default())) {
        expand(&[], import, &mut imports);
    }
    let imports =
        imports.into_iter().map(|path| path.into_iter().filter(|segment| segment != "self").collect::<Vec<_>>());
    imports.into_iter().find(|path| {
        path.len() > 1 && path.last().is_some_and(|last| last == name) && parts.contains(&path[0].as_str())
    })
}

/// The files that each file imports, within the same top-level module.
fn imports(sources: &[Source]) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let modules: Modules = sources.iter().map(|source| (module(&source.path), source)).collect();
    let importers = sources.iter().filter(|source| !source.path.ends_with("mod.rs"));
    let imports = importers.map(|source| {
        let own = module(&source.path);
        let code = source.code().collect::<Vec<_>>().join("\n");
        let targets = paths(&code).into_iter().filter_map(|path| definition(&absolute(&path, &own), &modules));
        let targets = targets.filter(|target| target[0] == own[0] && *target != own);
        (source.path.clone(), targets.map(|target| modules[&target].path.clone()).collect())
    });
    imports.collect()
}

/// A cycle, as the files on it, if there is one.
fn cycle(imports: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Option<Vec<PathBuf>> {
    fn visit<'a>(
        file: &'a PathBuf,
        imports: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>,
        trail: &mut Vec<&'a PathBuf>,
        done: &mut BTreeSet<&'a PathBuf>,
    ) -> Option<Vec<PathBuf>> {
        if let Some(begin) = trail.iter().position(|earlier| *earlier == file) {
            return Some(trail[begin..].iter().map(|file| (*file).clone()).collect());
        }
        if !done.insert(file) {
            return None;
        }
        trail.push(file);
        // A `mod.rs` has none.
        let mut imported = imports.get(file).into_iter().flatten();
        let found = imported.find_map(|next| visit(next, imports, trail, done));
        trail.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|file| visit(file, imports, &mut Vec::new(), &mut done))
}

#[test]
fn the_files_of_a_module_import_each_other_without_cycles() {
    if let Some(cycle) = cycle(&imports(&sources("src"))) {
        panic!("these files import each other in a circle: {cycle:#?}");
    }
}

#[test]
fn a_cycle_through_re_exports_is_found() {
    let file = |path: &str, text: &str| Source { path: path.into(), text: text.to_owned() };
    let mut files = vec![
        file("src/module/mod.rs", "mod a;\nmod b;\npub mod c;\npub(crate) use b::{Other, b1};\n"),
        file("src/module/a.rs", "use super::b1;\nuse super::c;\n"),
        file("src/module/b.rs", "use crate::module::c::deep::C;\nuse super::c;\nuse crate::elsewhere::X;\n"),
        file("src/module/c/mod.rs", "mod deep;\npub use deep::C;\n"),
        file("src/module/c/deep.rs", "use std::fmt;\n"),
    ];
    assert_eq!(cycle(&imports(&files)), None);
    files[4].text = "fn f() { super::super::a::g() }\n".to_owned();
    let on_cycle = ["src/module/a.rs", "src/module/b.rs", "src/module/c/deep.rs"].map(PathBuf::from);
    assert_eq!(cycle(&imports(&files)), Some(on_cycle.to_vec()));
}
