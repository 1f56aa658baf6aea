//! Makes the layers that `make bench` needs:
//!
//! ```text
//! make_tar split N PREFIX < TAR    the same entries in N archives of about the same length: PREFIX0, PREFIX1, …
//! make_tar large GIB               that many files of 1 GiB each, to standard output
//! make_tar small COUNT             that many files of some hundred bytes each, 1000 in a directory
//! make_tar noise BYTES             one file that does not compress
//! ```

use std::env;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use tar::{Archive, Builder, EntryType, Header};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().map_err(io::Error::other);
    match words[..] {
        ["split", count, prefix] => split(number(count)?, prefix),
        ["large", count] => large(number(count)?),
        ["small", count] => small(number(count)?),
        ["noise", bytes] => noise(number(bytes)?),
        _ => Err(io::Error::other("split N PREFIX, large GIB, small COUNT or noise BYTES is expected")),
    }
}

fn split(count: u64, prefix: &str) -> io::Result<()> {
    let mut whole = Vec::new();
    io::stdin().read_to_end(&mut whole)?;
    let share = whole.len() as u64 / count + 1;
    let mut archive = Archive::new(whole.as_slice());
    let mut parts = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let part = (entry.raw_header_position() / share) as usize;
        while parts.len() <= part {
            let file = File::create(format!("{prefix}{}", parts.len()))?;
            parts.push(Builder::new(BufWriter::new(file)));
        }
        // Names and targets too long for a header come before it as extensions, which have been read.
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        match entry.link_name()? {
            Some(target) => parts[part].append_link(&mut header, path, target)?,
            None => parts[part].append_data(&mut header, path, &mut entry)?,
        }
    }
    parts.into_iter().try_for_each(|mut part| part.finish())
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    header
}

fn output() -> Builder<BufWriter<io::StdoutLock<'static>>> {
    Builder::new(BufWriter::with_capacity(1 << 20, io::stdout().lock()))
}

fn large(count: u64) -> io::Result<()> {
    const GIB: u64 = 1 << 30;
    let mut archive = output();
    for file in 0..count {
        // Neither zeroes, which would become holes, nor what takes a compressor long.
        let line = format!("line of file {file}\n").into_bytes();
        let endless = BufReader::with_capacity(1 << 20, Repeated { line, at: 0 });
        archive.append_data(
            &mut header(EntryType::Regular, GIB),
            format!("large{file}"),
            endless.take(GIB),
        )?;
    }
    archive.into_inner()?.flush()
}

struct Repeated {
    line: Vec<u8>,
    at: usize,
}

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.line[self.at];
            self.at = (self.at + 1) % self.line.len();
        }
        Ok(buffer.len())
    }
}

fn small(count: u64) -> io::Result<()> {
    let mut archive = output();
    for file in 0..count {
        let directory = format!("srv/directory{}", file / 1000);
        if file % 1000 == 0 {
            archive.append_data(&mut header(EntryType::Directory, 0), &directory, io::empty())?;
        }
        let content = format!("this is small file {file}\n").repeat(file as usize % 40);
        let mut header = header(EntryType::Regular, content.len() as u64);
        archive.append_data(&mut header, format!("{directory}/file{file}.txt"), content.as_bytes())?;
    }
    archive.into_inner()?.flush()
}

fn noise(bytes: u64) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let content: Vec<u8> = (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    let mut archive = output();
    archive.append_data(&mut header(EntryType::Regular, bytes), "srv/noise", content.as_slice())?;
    archive.into_inner()?.flush()
}
