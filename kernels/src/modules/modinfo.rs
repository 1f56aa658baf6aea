//! The `.modinfo` section of a module: NUL-separated `key=value` records.

use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, elf};

/// What a module says of itself, as far as loading it goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules or crypto algorithms that should be there before it, when they exist.
    pub wants_before: Vec<String>,
    pub aliases: Vec<String>,
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
                "softdep" => info.wants_before.extend(before(value)),
                "alias" => info.aliases.push(value.to_owned()),
                _ => {}
            }
        }
        Ok(info)
    }
}

fn section(module: &[u8]) -> Result<&[u8], object::Error> {
    let header = FileHeader64::<Endianness>::parse(module)?;
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
