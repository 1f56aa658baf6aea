//! Sparse entries: GNU's old form ('S' headers) and the PAX forms 0.0, 0.1 and 1.0.

use super::Problem;
use super::number::{decimal, header_field};
use super::source::{BLOCK, Source};
use std::io::BufRead;

/// A run of bytes that the archive holds; between runs there are zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where the run begins in the file, in bytes.
    pub offset: u64,
    pub length: u64,
}

/// More runs than this are refused: their list is held in memory.
const MAX_EXTENTS: usize = 1 << 20;

/// What PAX records say of a sparse file.
#[derive(Default)]
pub struct SparseRecords {
    major: Option<u64>,
    minor: Option<u64>,
    /// The file's real name; the entry's is a decoy for readers that know nothing of sparse files.
    pub name: Option<Vec<u8>>,
    real_size: Option<u64>,
    extents: Vec<Extent>,
    /// The offset of a run whose length comes with the next record (form 0.0).
    offset: Option<u64>,
    has_map: bool,
}

impl SparseRecords {
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let number = || decimal(value).ok_or(Problem::SparseMap);
        match key {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"name" if value.contains(&0) => return Err(Problem::NulInName),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"numblocks" => self.has_map = true,
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(Problem::SparseMap)?;
                push(&mut self.extents, offset, number()?)?;
                self.has_map = true;
            }
            b"map" => {
                self.extents.clear();
                self.has_map = true;
                let mut numbers = value.split(|&byte| byte == b',').filter(|text| !text.is_empty());
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().and_then(decimal).ok_or(Problem::SparseMap)?;
                    push(&mut self.extents, decimal(offset).ok_or(Problem::SparseMap)?, length)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the records speak of a sparse file, and then its real size and runs. Form 1.0 keeps the map
    /// before the content: it is read from `source` and taken off `stored`, the bytes that follow.
    pub fn finish<R: BufRead>(
        self,
        source: &mut Source<R>,
        stored: &mut u64,
    ) -> Result<Option<(u64, Vec<Extent>)>, Problem> {
        let extents = match (self.major, self.minor) {
            (Some(1), Some(0)) => read_map(source, stored)?,
            (None | Some(0), None | Some(0 | 1)) if self.has_map => self.extents,
            (None, None) => return Ok(None),
            _ => return Err(Problem::SparseMap),
        };
        let size = self.real_size.ok_or(Problem::SparseMap)?;
        check(&extents, size, *stored)?;
        Ok(Some((size, extents)))
    }
}

/// Runs must rise, lie within the file, and be what the archive holds, no more and no less.
pub fn check(extents: &[Extent], size: u64, stored: u64) -> Result<(), Problem> {
    let mut end = 0;
    let mut held = 0u64;
    for extent in extents {
        let after = extent.offset.checked_add(extent.length).ok_or(Problem::SparseMap)?;
        if extent.offset < end || after > size {
            return Err(Problem::SparseMap);
        }
        end = after;
        held += extent.length;
    }
    if held == stored { Ok(()) } else { Err(Problem::SparseMap) }
}

fn push(extents: &mut Vec<Extent>, offset: u64, length: u64) -> Result<(), Problem> {
    if extents.len() == MAX_EXTENTS {
        return Err(Problem::SparseMap);
    }
    extents.push(Extent { offset, length });
    Ok(())
}

/// Form 1.0: decimal numbers, a line each, padded to a whole block.
fn read_map<R: BufRead>(source: &mut Source<R>, stored: &mut u64) -> Result<Vec<Extent>, Problem> {
    let mut block = [0; BLOCK];
    let mut at = BLOCK;
    let mut number = || -> Result<u64, Problem> {
        let mut value = 0u64;
        let mut digits = 0;
        loop {
            if at == BLOCK {
                *stored = stored.checked_sub(BLOCK as u64).ok_or(Problem::SparseMap)?;
                source.read_exact(&mut block)?;
                at = 0;
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' if digits > 0 => return Ok(value),
                b'0'..=b'9' if digits < 20 => {
                    value = value
                        .checked_mul(10)
                        .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                        .ok_or(Problem::SparseMap)?;
                    digits += 1;
                }
                _ => return Err(Problem::SparseMap),
            }
        }
    };
    let count = number()?;
    let mut extents = Vec::new();
    for _ in 0..count {
        let offset = number()?;
        let length = number()?;
        push(&mut extents, offset, length)?;
    }
    Ok(extents)
}

/// GNU's old form: four runs in the header, more in blocks that follow it.
pub fn read_old_gnu<R: BufRead>(
    header: &[u8; BLOCK],
    source: &mut Source<R>,
    stored: u64,
) -> Result<(u64, Vec<Extent>), Problem> {
    const IN_HEADER: std::ops::Range<usize> = 386..482;
    const IN_BLOCK: std::ops::Range<usize> = 0..504;
    let number = |field: &[u8]| {
        header_field(field).and_then(|value| u64::try_from(value).ok()).ok_or(Problem::SparseMap)
    };
    let size = number(&header[483..495])?;
    let mut extents = Vec::new();
    let mut take = |runs: &[u8]| -> Result<(), Problem> {
        for run in runs.chunks_exact(24).take_while(|run| run[0] != 0) {
            push(&mut extents, number(&run[..12])?, number(&run[12..])?)?;
        }
        Ok(())
    };
    take(&header[IN_HEADER])?;
    let mut more = header[482] != 0;
    while more {
        let mut block = [0; BLOCK];
        source.read_exact(&mut block)?;
        take(&block[IN_BLOCK])?;
        more = block[504] != 0;
    }
    check(&extents, size, stored)?;
    Ok((size, extents))
}
