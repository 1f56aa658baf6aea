//! ELF files: a kernel that is one, and modules.

use crate::VERSION;

/// Where the small kernel lies.
pub const KERNEL_ADDRESS: u64 = 2 << 20;

pub fn header(kind: u16, entry: u64, programs: u64, sections: u64, counts: [u16; 2], names: u16) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(kind.to_le_bytes());
    elf.extend(62_u16.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    for field in [entry, programs, sections] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for field in [64, 56, counts[0], 64, counts[1], names] {
        elf.extend(field.to_le_bytes());
    }
    elf
}

pub fn program(kind: u32, offset: u64, address: u64, file_size: u64, memory_size: u64) -> Vec<u8> {
    let mut program = [kind.to_le_bytes(), 5_u32.to_le_bytes()].concat();
    for field in
        [offset, 0xffff_ffff_8000_0000_u64.wrapping_add(address), address, file_size, memory_size, 4096]
    {
        program.extend(field.to_le_bytes());
    }
    program
}

/// The smallest kernel of a version that there can be, perhaps with its configuration in it.
pub fn kernel(version: &[u8], config: Option<&[u8]>) -> Vec<u8> {
    let mut content = [b"Linux version ", version, b" (me@here)\0"].concat();
    if let Some(config) = config {
        content.extend(b"IKCFG_ST");
        content.extend(crate::packing::Packing::Gzip.pack(config));
        content.extend(b"IKCFG_ED");
    }
    let size = content.len() as u64;
    [header(2, KERNEL_ADDRESS, 64, 0, [1, 0], 0), program(1, 120, KERNEL_ADDRESS, size, size + 4096), content]
        .concat()
}

pub fn right_kernel() -> Vec<u8> {
    kernel(VERSION.as_bytes(), None)
}

/// A section besides those that make a file readable: its name, what it is, what it refers to, and its content.
pub struct Section {
    pub name: &'static str,
    pub kind: u32,
    pub link: u32,
    pub entry_size: u64,
    pub content: Vec<u8>,
}

/// An object file of these sections.
pub fn object(sections: &[Section]) -> Vec<u8> {
    let mut names = b"\0".to_vec();
    let mut file = header(1, 0, 0, 0, [0, sections.len() as u16 + 2], sections.len() as u16 + 1);
    let mut table = vec![0; 64];
    let mut add = |file: &mut Vec<u8>, names: &mut Vec<u8>, section: &Section, content: Option<&[u8]>| {
        let name = names.len() as u32;
        names.extend(section.name.bytes());
        names.push(0);
        let content = content.unwrap_or(names).to_vec();
        table.extend(name.to_le_bytes());
        table.extend(section.kind.to_le_bytes());
        for field in [0, 0, file.len() as u64, content.len() as u64] {
            table.extend(field.to_le_bytes());
        }
        table.extend([section.link.to_le_bytes(), 0_u32.to_le_bytes()].concat());
        for field in [1, section.entry_size] {
            table.extend(field.to_le_bytes());
        }
        file.extend(content);
    };
    for section in sections {
        add(&mut file, &mut names, section, Some(&section.content));
    }
    let last = Section { name: ".shstrtab", kind: 3, link: 0, entry_size: 0, content: Vec::new() };
    add(&mut file, &mut names, &last, None);
    file.resize(file.len().next_multiple_of(8), 0);
    let place = file.len() as u64;
    file[40..48].copy_from_slice(&place.to_le_bytes());
    file.extend(table);
    file
}

/// A module that says this of itself, and exports these symbols.
pub fn module(records: &[Vec<u8>], symbols: &[Vec<u8>]) -> Vec<u8> {
    let mut strings = b"\0".to_vec();
    let mut table = vec![0; 24];
    for symbol in symbols {
        table.extend((strings.len() as u32).to_le_bytes());
        table.extend([0x10, 0, 1, 0]);
        table.extend([0; 16]);
        strings.extend(symbol);
        strings.push(0);
    }
    let section = |name, kind, link, entry_size, content| Section { name, kind, link, entry_size, content };
    object(&[
        section(
            ".modinfo",
            1,
            0,
            0,
            records.iter().flat_map(|record| [record, &b"\0"[..]].concat()).collect(),
        ),
        section(".symtab", 2, 3, 24, table),
        section(".strtab", 3, 0, 0, strings),
    ])
}
