//! What a module says of itself: the `.modinfo` section (NUL-separated `key=value` records), and the symbols that
//! it exports.

use std::collections::BTreeSet;

use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{Endianness, elf};

type Elf = elf::FileHeader64<Endianness>;

/// What marks the name of an exported symbol: the entry of its table, and its version.
const EXPORTS: [&[u8]; 2] = [b"__ksymtab_", b"__crc_"];

/// What a module says of itself, as far as finding and loading it goes. Names are as the kernel has them, with
/// underscores, except in the texts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules or crypto algorithms that should be there before it, when they exist.
    pub wants_before: Vec<String>,
    pub aliases: Vec<String>,
    /// Soft and weak dependencies as they are written.
    pub softdeps: Vec<String>,
    pub weakdeps: Vec<String>,
}

impl ModuleInfo {
    /// Reads `.modinfo` of an x86-64 ELF object.
    pub fn parse(module: &[u8]) -> Result<ModuleInfo, String> {
        let section = section(module).map_err(|error| error.to_string())?;
        let mut info = ModuleInfo::default();
        for record in section.split(|byte| *byte == 0) {
            let Some((key, value)) =
                std::str::from_utf8(record).ok().and_then(|record| record.split_once('='))
            else {
                continue;
            };
            match key {
                "depends" => info.depends.extend(names(value.split(','))),
                "softdep" => {
                    info.wants_before.extend(before(value));
                    info.softdeps.push(value.to_owned());
                }
                "weakdep" => info.weakdeps.push(value.to_owned()),
                "alias" => info.aliases.push(value.to_owned()),
                _ => {}
            }
        }
        Ok(info)
    }
}

/// The symbols that other modules may use.
pub fn exported_symbols(module: &[u8]) -> Result<BTreeSet<String>, String> {
    symbols(module).map_err(|error| error.to_string())
}

fn symbols(module: &[u8]) -> Result<BTreeSet<String>, object::Error> {
    let mut exported = BTreeSet::new();
    let header = Elf::parse(module)?;
    let endian = header.endian()?;
    let symbols = header.sections(endian, module)?.symbols(endian, module, elf::SHT_SYMTAB)?;
    for symbol in symbols.iter() {
        let name = symbol.name(endian, symbols.strings())?;
        let name = EXPORTS.iter().find_map(|mark| name.strip_prefix(*mark));
        exported.extend(name.and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned));
    }
    Ok(exported)
}

fn section(module: &[u8]) -> Result<&[u8], object::Error> {
    let header = Elf::parse(module)?;
    let endian = header.endian()?;
    if header.e_machine(endian) != elf::EM_X86_64 {
        return Ok(&[]);
    }
    let sections = header.sections(endian, module)?;
    match sections.section_by_name(endian, b".modinfo") {
        Some((_, section)) => section.data(endian, module),
        None => Ok(&[]),
    }
}

/// The `pre:` part of a softdep, `pre: a b post: c`.
fn before(softdep: &str) -> Vec<String> {
    let mut words = softdep.split_whitespace().skip_while(|word| *word != "pre:");
    words.next();
    names(words.take_while(|word| *word != "post:")).collect()
}

fn names<'a>(words: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    words.map(str::trim).filter(|word| !word.is_empty()).map(|word| word.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_counts() {
        assert_eq!(before("pre: crc32c aes-generic post: x"), ["crc32c", "aes_generic"]);
        assert_eq!(before("post: x pre: y"), ["y"]);
        assert!(before("post: x").is_empty());
    }
}
