//! What a module says of itself: the `.modinfo` section (NUL-separated `key=value` records), and the symbols that
//! it exports.

use std::collections::BTreeSet;

use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{Endianness, elf};

type Elf = elf::FileHeader64<Endianness>;

/// What real modules stay far below, in bytes: their `.modinfo`, the name of a symbol (KSYM_NAME_LEN), and the names of
/// all that they export.
const MODINFO_LIMIT: usize = 4 << 20;
/// What it names, modules and aliases together: each costs more memory than its text has. Those that know the most
/// devices have some 1,600.
const NAMES_LIMIT: usize = 64 << 10;
const LONGEST_SYMBOL: usize = 512;
/// A module's name is that of a file.
const LONGEST_NAME: usize = 255;
const EXPORTED_LIMIT: usize = 1 << 20;

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
        if section.len() > MODINFO_LIMIT {
            return Err(format!("its .modinfo has {} bytes", section.len()));
        }
        let mut info = ModuleInfo::default();
        for record in section.split(|byte| *byte == 0) {
            let Some((key, value)) =
                std::str::from_utf8(record).ok().and_then(|record| record.split_once('='))
            else {
                continue;
            };
            match key {
                "depends" => {
                    let known = info.depends.len();
                    info.depends.extend(names(value.split(',')).take(NAMES_LIMIT + 1));
                    // They come to messages.
                    if !info.depends[known..].iter().all(|name| can_be_name(name)) {
                        return Err("it depends on a module with an impossible name".into());
                    }
                }
                "softdep" => {
                    info.wants_before.extend(before(value).take(NAMES_LIMIT + 1));
                    info.softdeps.push(value.to_owned());
                }
                "weakdep" => info.weakdeps.push(value.to_owned()),
                "alias" => info.aliases.push(value.to_owned()),
                _ => {}
            }
            if info.count() > NAMES_LIMIT {
                return Err(format!("its .modinfo names more than {NAMES_LIMIT} modules and aliases"));
            }
        }
        Ok(info)
    }

    fn count(&self) -> usize {
        let ModuleInfo { depends, wants_before, aliases, softdeps, weakdeps } = self;
        [depends, wants_before, aliases, softdeps, weakdeps].into_iter().map(Vec::len).sum()
    }
}

/// The symbols that other modules may use.
pub fn exported_symbols(module: &[u8]) -> Result<BTreeSet<String>, String> {
    let damaged = |error: object::Error| error.to_string();
    let header = Elf::parse(module).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let sections = header.sections(endian, module).map_err(damaged)?;
    let symbols = sections.symbols(endian, module, elf::SHT_SYMTAB).map_err(damaged)?;
    let mut exported = BTreeSet::new();
    if symbols.is_empty() {
        return Ok(exported);
    }
    let names = sections.section(symbols.string_section()).and_then(|names| names.data(endian, module));
    let names = names.map_err(damaged)?;
    let mut bytes = 0;
    for symbol in symbols.iter() {
        let name = names.get(symbol.st_name(endian) as usize..).ok_or("a symbol's name is nowhere")?;
        let Some(name) = EXPORTS.iter().find_map(|mark| name.strip_prefix(*mark)) else { continue };
        // Not further: all symbols of a hostile module can have one name, as long as the file.
        let name = name.get(..LONGEST_SYMBOL).unwrap_or(name);
        let end = name.iter().position(|byte| *byte == 0).ok_or("a symbol's name has no end")?;
        if let Ok(name) = str::from_utf8(&name[..end])
            && !exported.contains(name)
        {
            bytes += name.len();
            exported.insert(name.to_owned());
        }
        if bytes > EXPORTED_LIMIT || exported.len() > EXPORTED_LIMIT / 16 {
            return Err("it exports more symbols than any real module does".into());
        }
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
fn before(softdep: &str) -> impl Iterator<Item = String> {
    let words = softdep.split_whitespace().skip_while(|word| *word != "pre:").skip(1);
    names(words.take_while(|word| *word != "post:"))
}

fn names<'a>(words: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    words.map(str::trim).filter(|word| !word.is_empty()).map(|word| word.replace('-', "_"))
}

fn can_be_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_counts() {
        let before = |softdep| before(softdep).collect::<Vec<_>>();
        assert_eq!(before("pre: crc32c aes-generic post: x"), ["crc32c", "aes_generic"]);
        assert_eq!(before("post: x pre: y"), ["y"]);
        assert!(before("post: x").is_empty());
    }

    /// A module with so many symbols, whose names begin `step` bytes apart in `names`.
    fn with_symbols(count: usize, step: usize, names: &[u8]) -> Vec<u8> {
        let mut module = crate::fixtures::module(&[]);
        let sections = u64::from_le_bytes(*module[40..48].first_chunk().unwrap()) as usize;
        let mut table = module.split_off(sections);
        for (kind, link, entry, content) in [(2_u32, 4_u32, 24_u64, None), (3, 0, 0, Some(names))] {
            let begin = module.len() as u64;
            match content {
                Some(content) => module.extend(content),
                None => (0..count).for_each(|symbol| {
                    module.extend(((symbol * step) as u32).to_le_bytes());
                    module.extend([0; 20]);
                }),
            }
            table.extend([0_u32.to_le_bytes(), kind.to_le_bytes()].concat());
            for field in [0, 0, begin, module.len() as u64 - begin] {
                table.extend(field.to_le_bytes());
            }
            table.extend([link.to_le_bytes(), 0_u32.to_le_bytes()].concat());
            table.extend([1_u64.to_le_bytes(), entry.to_le_bytes()].concat());
        }
        let place = module.len() as u64;
        module[40..48].copy_from_slice(&place.to_le_bytes());
        module[60..62].copy_from_slice(&5_u16.to_le_bytes());
        module.extend(table);
        module
    }

    #[test]
    fn a_module_needs_none_that_no_message_can_name() {
        let parse = |record: &str| ModuleInfo::parse(&crate::fixtures::module(&[record]));
        assert_eq!(parse("depends=a-b,c").unwrap().depends, ["a_b", "c"]);
        for bad in ["depends=a,b\nc", "depends=\u{9b}2J", &format!("depends={}", "a".repeat(256))] {
            assert!(parse(bad).unwrap_err().contains("impossible name"));
        }
    }

    #[test]
    fn a_module_that_names_more_than_any_other_is_refused() {
        let parse = |records: &[&str]| ModuleInfo::parse(&crate::fixtures::module(records));
        let many = |before: &str, count: usize| format!("{before}{}", "z ".repeat(count));
        let depends = format!("depends={}", "z,".repeat(NAMES_LIMIT - 1));
        let all = parse(&[&depends, "alias=a"]).unwrap();
        assert_eq!((all.depends.len(), all.aliases.len()), (NAMES_LIMIT - 1, 1));
        // What is counted is all of it, whichever record it is in.
        let aliases = vec!["alias=a"; NAMES_LIMIT + 1];
        for records in [
            &[depends.as_str(), "alias=a", "weakdep=a"][..],
            &[&many("softdep=pre: ", 2_000_000)],
            &[&many("softdep=pre: ", NAMES_LIMIT / 2), &many("softdep=pre: ", NAMES_LIMIT / 2)],
            &aliases,
        ] {
            let refused = parse(records).unwrap_err();
            assert_eq!(refused, "its .modinfo names more than 65536 modules and aliases");
        }
    }

    #[test]
    fn each_name_is_looked_at_once_however_many_records_follow() {
        let depends = format!("depends={}", "z,".repeat(60_000));
        let records: Vec<_> = std::iter::once(depends.as_str()).chain(vec!["depends="; 400_000]).collect();
        let module = crate::fixtures::module(&records);
        let begun = std::time::Instant::now();
        assert_eq!(ModuleInfo::parse(&module).unwrap().depends.len(), 60_000);
        let took = begun.elapsed();
        // All of them again for each record takes minutes.
        assert!(took.as_secs() < 10, "{took:?}");
    }

    #[test]
    fn exported_symbols_are_found() {
        let module = with_symbols(3, 11, b"__ksymtab_a\0__crc_bb\0_\0other\0");
        let exported = exported_symbols(&with_symbols(2, 12, b"__ksymtab_a\0__crc_bb\0")).unwrap();
        assert_eq!(exported, BTreeSet::from(["a".to_owned(), "bb".to_owned()]));
        assert_eq!(exported_symbols(&module).unwrap(), BTreeSet::from(["a".to_owned()]));
        assert!(exported_symbols(&with_symbols(9, 11, b"__ksymtab_a\0")).is_err(), "names that are nowhere");
    }

    #[test]
    fn names_as_long_as_the_file_cost_no_more_than_short_ones() {
        let begun = std::time::Instant::now();
        let long = b"x".repeat(32 << 20);
        assert_eq!(exported_symbols(&with_symbols(400_000, 0, &long)).unwrap(), BTreeSet::new());
        let long = [b"__ksymtab_".as_slice(), &long].concat();
        assert_eq!(exported_symbols(&with_symbols(2, 0, &long)).unwrap_err(), "a symbol's name has no end");
        let took = begun.elapsed();
        // To their ends, that is as many bytes as take an hour.
        assert!(took.as_secs() < 20, "{took:?}");
    }

    #[test]
    fn what_says_more_than_any_module_is_refused() {
        let names =
            (0..70_000).fold(String::new(), |names, number| names + &format!("__ksymtab_{number:06}\0"));
        let refused = exported_symbols(&with_symbols(70_000, 17, names.as_bytes())).unwrap_err();
        assert!(refused.contains("more symbols"), "{refused}");
        let depends = format!("depends={}", "a,".repeat(MODINFO_LIMIT / 2));
        let refused = ModuleInfo::parse(&crate::fixtures::module(&[&depends])).unwrap_err();
        assert!(refused.starts_with("its .modinfo has"), "{refused}");
    }
}
