//! The index of a module tree, as depmod(8) makes it: packages lack it, and every loader needs it.

mod dependencies;
mod trie;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use super::Error;
use super::modinfo::ModuleInfo;
use dependencies::Dependencies;
use trie::{TooLarge, Trie};

/// All that modules may say of themselves, in bytes and in single facts; what follows from their dependencies may
/// be as much again. Real kernels stay below 4 MiB.
const TEXT_LIMIT: usize = 64 << 20;
const FACTS_LIMIT: usize = 1 << 20;

/// A module, as far as the index tells of it.
#[derive(Debug, Clone)]
pub struct Module {
    /// As the kernel calls it.
    pub name: String,
    /// Of its file, below `lib/modules/VERSION`.
    pub path: String,
    pub info: ModuleInfo,
    pub exported: BTreeSet<String>,
}

/// What is to be indexed.
#[derive(Debug, Default)]
pub struct Contents {
    modules: Vec<Module>,
    text: usize,
    facts: usize,
}

impl Contents {
    /// Adds a module.
    pub fn add(&mut self, mut module: Module) -> Result<(), Error> {
        // The index has that as the softdeps' texts, and here are all modules at once.
        module.info.wants_before = Vec::new();
        let ModuleInfo { depends, wants_before: _, aliases, softdeps, weakdeps } = &module.info;
        for text in depends.iter().chain(aliases).chain(softdeps).chain(weakdeps).chain(&module.exported) {
            self.text += text.len();
            self.facts += 1;
        }
        self.modules.push(module);
        if self.text > TEXT_LIMIT || self.facts > FACTS_LIMIT { Err(Error::TooMuch) } else { Ok(()) }
    }

    /// The files of the index by name. `order` is `modules.order`, by which modules with the same alias are tried;
    /// `built_in` and `built_in_info` are `modules.builtin` and `modules.builtin.modinfo`.
    pub fn index(
        mut self,
        order: &[u8],
        built_in: &[u8],
        built_in_info: &[u8],
    ) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        self.sort(&String::from_utf8_lossy(order));
        let dependencies = Dependencies::of(&self.modules)?;
        let lines = self.dependency_lines(&dependencies)?;
        let (built_in, built_in_aliases) =
            (String::from_utf8_lossy(built_in), String::from_utf8_lossy(built_in_info));
        let files = [
            ("modules.dep", Ok(lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect())),
            ("modules.dep.bin", self.dependencies_trie(&lines).write()),
            ("modules.alias", Ok(self.aliases())),
            ("modules.alias.bin", self.aliases_trie().write()),
            ("modules.symbols", Ok(self.symbols())),
            ("modules.symbols.bin", self.symbols_trie().write()),
            ("modules.softdep", Ok(self.further("softdep", |info| &info.softdeps, SOFT_DEPENDENCIES))),
            ("modules.weakdep", Ok(self.further("weakdep", |info| &info.weakdeps, WEAK_DEPENDENCIES))),
            ("modules.devname", Ok(self.device_nodes())),
            ("modules.builtin.bin", built_in_trie(&built_in).write()),
            ("modules.builtin.alias.bin", built_in_aliases_trie(&built_in_aliases).write()),
        ];
        let whole = |(name, file): (_, Result<_, TooLarge>)| file.map(|file| (name, file));
        files.into_iter().map(whole).collect::<Result<_, _>>().map_err(|TooLarge| Error::TooMuch)
    }

    /// As `order` has them; the others behind, by their paths.
    fn sort(&mut self, order: &str) {
        let places: HashMap<&str, usize> =
            order.lines().enumerate().map(|(place, line)| (line, place)).collect();
        self.modules.sort_by(|one, other| {
            let place = |module: &Module| places.get(module.path.as_str()).copied().unwrap_or(usize::MAX);
            (place(one), &one.path).cmp(&(place(other), &other.path))
        });
    }

    fn dependency_lines(&self, dependencies: &Dependencies) -> Result<Vec<String>, Error> {
        let mut left = TEXT_LIMIT;
        let mut lines = Vec::with_capacity(self.modules.len());
        for (number, module) in self.modules.iter().enumerate() {
            let needed =
                || dependencies.of_module(number).iter().map(|needed| &self.modules[*needed as usize]);
            // What stands behind each path, a colon or a space, counts too.
            let length: usize = needed().chain([module]).map(|module| module.path.len() + 1).sum();
            left = left.checked_sub(length).ok_or(Error::TooMuch)?;
            let mut line = String::with_capacity(length);
            line.extend([&module.path, ":"]);
            line.extend(needed().flat_map(|needed| [" ", &needed.path]));
            lines.push(line);
        }
        Ok(lines)
    }

    /// Each module with its place, which is what it counts for beside others.
    fn numbered(&self) -> impl Iterator<Item = (u32, &Module)> {
        (0..).zip(&self.modules)
    }

    fn dependencies_trie<'a>(&'a self, lines: &'a [String]) -> Trie<'a> {
        let mut trie = Trie::default();
        for ((number, module), line) in self.numbered().zip(lines) {
            trie.add(module.name.clone(), line, number);
        }
        trie
    }

    fn aliases(&self) -> Vec<u8> {
        let mut text = String::from("# Aliases extracted from modules themselves.\n");
        for module in &self.modules {
            for alias in module.info.aliases.iter().filter(|alias| is_line(alias)) {
                let _ = writeln!(text, "alias {alias} {}", module.name);
            }
        }
        text.into_bytes()
    }

    fn aliases_trie(&self) -> Trie<'_> {
        let mut trie = Trie::default();
        for (number, module) in self.numbered() {
            for alias in module.info.aliases.iter().filter_map(|alias| with_underscores(alias)) {
                trie.add(alias, &module.name, number);
            }
        }
        trie
    }

    fn symbols(&self) -> Vec<u8> {
        let mut text = String::from("# Aliases for symbols, used by symbol_request().\n");
        for module in &self.modules {
            for symbol in module.exported.iter().filter(|symbol| is_line(symbol)) {
                let _ = writeln!(text, "alias symbol:{symbol} {}", module.name);
            }
        }
        text.into_bytes()
    }

    fn symbols_trie(&self) -> Trie<'_> {
        let mut trie = Trie::default();
        for (number, module) in self.numbered() {
            for symbol in &module.exported {
                trie.add(format!("symbol:{symbol}"), &module.name, number);
            }
        }
        trie
    }

    fn further(&self, word: &str, of: impl Fn(&ModuleInfo) -> &Vec<String>, head: &str) -> Vec<u8> {
        let mut text = String::from(head);
        for module in &self.modules {
            for value in of(&module.info).iter().filter(|value| is_line(value)) {
                let _ = writeln!(text, "{word} {} {value}", module.name);
            }
        }
        text.into_bytes()
    }

    fn device_nodes(&self) -> Vec<u8> {
        let mut text = String::from("# Device nodes to trigger on-demand module loading.\n");
        for module in &self.modules {
            if let Some((name, device)) = device_node(&module.info.aliases) {
                let _ = writeln!(text, "{} {name} {device}", module.name);
            }
        }
        text.into_bytes()
    }
}

const SOFT_DEPENDENCIES: &str = "# Soft dependencies extracted from modules themselves.\n\
     # Copy, with a .conf extension, to /etc/modprobe.d to use it with modprobe.\n";
const WEAK_DEPENDENCIES: &str = "# Weak dependencies extracted from modules themselves.\n";

fn built_in_trie(list: &str) -> Trie<'static> {
    let mut trie = Trie::default();
    for name in list.lines().filter_map(super::tree::name_of) {
        trie.add(name, "", 0);
    }
    trie
}

/// `MODULE.alias=ALIAS` records. Each module's aliases come in a piece.
fn built_in_aliases_trie(records: &str) -> Trie<'_> {
    let mut trie = Trie::default();
    for record in records.split('\0') {
        if let Some((module, alias)) = record.split_once(".alias=")
            && !module.contains(['.', '='])
            && let Some(alias) = with_underscores(alias)
        {
            trie.add(alias, module, 0);
        }
    }
    trie
}

/// The node whose first use asks for the module: the name of a `devname:` alias with the numbers of a
/// `char-major-` or `block-major-` one.
fn device_node(aliases: &[String]) -> Option<(&str, String)> {
    let name = aliases.iter().rev().find_map(|alias| alias.strip_prefix("devname:"))?;
    let numbers = |rest: &str| {
        let (major, minor) = rest.split_once('-')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let device = aliases.iter().find_map(|alias| {
        let (kind, rest) = match alias.strip_prefix("char-major-") {
            Some(rest) => ('c', rest),
            None => ('b', alias.strip_prefix("block-major-")?),
        };
        numbers(rest).map(|(major, minor)| format!("{kind}{major}:{minor}"))
    })?;
    (is_line(name) && !name.contains(' ')).then_some((name, device))
}

/// The alias as it is looked up: dashes are underscores, except in brackets. `None` where these do not match.
fn with_underscores(alias: &str) -> Option<String> {
    let mut in_brackets = false;
    let mut looked_up = String::with_capacity(alias.len());
    for letter in alias.chars() {
        match letter {
            '[' => in_brackets = true,
            ']' if !in_brackets => return None,
            ']' => in_brackets = false,
            _ => {}
        }
        looked_up.push(if letter == '-' && !in_brackets { '_' } else { letter });
    }
    (!in_brackets).then_some(looked_up)
}

/// Whether it can be part of a line of text.
fn is_line(text: &str) -> bool {
    text.bytes().all(trie::is_text)
}

#[cfg(test)]
mod bounds_test;
