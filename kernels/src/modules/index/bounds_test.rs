//! A few hostile modules must not cost more than many real ones.

use super::*;

/// A module of that number that needs those.
fn module(number: usize, path: String, needs: impl IntoIterator<Item = usize>) -> Module {
    let depends = needs.into_iter().map(|needed| format!("m{needed}")).collect();
    let info = ModuleInfo { depends, ..ModuleInfo::default() };
    Module { name: format!("m{number}"), path, info, exported: BTreeSet::new() }
}

fn index(modules: impl IntoIterator<Item = Module>) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let mut contents = Contents::default();
    for module in modules {
        contents.add(module)?;
    }
    contents.index(b"", b"", b"")
}

/// Each of `count` modules needs the next; the paths have `length` letters.
fn chain(count: usize, length: usize) -> impl Iterator<Item = Module> {
    (0..count).map(move |number| {
        let next = (number + 1 < count).then_some(number + 1);
        module(number, format!("{number:0length$}.ko"), next)
    })
}

#[test]
fn a_chain_whose_dependencies_are_too_many_is_refused() {
    assert!(matches!(index(chain(3_000, 4)), Err(Error::TooMuch)));
    assert!(matches!(index(chain(50_000, 5)), Err(Error::TooMuch)));
}

#[test]
fn a_chain_whose_dependencies_are_too_long_is_refused() {
    assert!(matches!(index(chain(500, 1_000)), Err(Error::TooMuch)));
}

#[test]
fn a_short_chain_is_written_in_order() {
    let files = index(chain(3, 1)).unwrap();
    let (_, dependencies) = files.iter().find(|(name, _)| *name == "modules.dep").unwrap();
    assert_eq!(String::from_utf8_lossy(dependencies), "0.ko: 1.ko 2.ko\n1.ko: 2.ko\n2.ko:\n");
}

#[test]
fn a_great_circle_is_found_at_once() {
    let count = 200_000;
    let begun = std::time::Instant::now();
    let circle = (0..count).map(|number| module(number, format!("{number:06}.ko"), [(number + 1) % count]));
    assert!(matches!(index(circle), Err(Error::Circle(_))));
    let took = begun.elapsed();
    // Going through all modules for each would take minutes.
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn one_alias_said_again_and_again_costs_no_more_than_many() {
    let count = 600_000;
    let info = ModuleInfo { aliases: vec!["x".into(); count], ..ModuleInfo::default() };
    let module = Module { info, ..module(0, "0.ko".into(), []) };
    let mut contents = Contents::default();
    contents.add(module).unwrap();
    let built_in = b"m.alias=x\0".repeat(count);
    let begun = std::time::Instant::now();
    contents.index(b"", b"", &built_in).unwrap();
    let took = begun.elapsed();
    // Putting each before those that are there already would take many minutes.
    assert!(took.as_secs() < 30, "{took:?}");
}
