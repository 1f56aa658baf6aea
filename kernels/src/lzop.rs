//! The file format of lzop, with its checksums verified.

use std::io::{self, BufRead, Read};

const MAGIC_LENGTH: usize = 9;
/// lzop's blocks are 256 KiB; nobody writes larger ones than this.
const LARGEST_BLOCK: u32 = 8 << 20;

const ADLER32_UNPACKED: u32 = 0x0001;
const ADLER32_PACKED: u32 = 0x0002;
const EXTRA_FIELD: u32 = 0x0040;
const CRC32_UNPACKED: u32 = 0x0100;
const CRC32_PACKED: u32 = 0x0200;
const FILTER: u32 = 0x0800;
/// From this version on, the header holds a level and 64-bit times.
const VERSION_WITH_LEVEL: u16 = 0x0940;

pub struct Decoder<R> {
    from: R,
    flags: u32,
    block: Vec<u8>,
    position: usize,
    ended: bool,
}

impl<R: BufRead> Decoder<R> {
    /// `from` begins with the magic number.
    pub fn new(mut from: R) -> io::Result<Decoder<R>> {
        from.read_exact(&mut [0; MAGIC_LENGTH])?;
        let version = read_u16(&mut from)?;
        let _library = read_u16(&mut from)?;
        if version >= VERSION_WITH_LEVEL {
            let _needed = read_u16(&mut from)?;
        }
        let _method = read_u8(&mut from)?;
        if version >= VERSION_WITH_LEVEL {
            let _level = read_u8(&mut from)?;
        }
        let flags = read_u32(&mut from)?;
        if flags & (FILTER | EXTRA_FIELD) != 0 {
            return Err(invalid("lzop filters and extra fields are not supported"));
        }
        let _mode = read_u32(&mut from)?;
        let _time = read_u32(&mut from)?;
        if version >= VERSION_WITH_LEVEL {
            let _time_high = read_u32(&mut from)?;
        }
        let name = read_u8(&mut from)?;
        from.read_exact(&mut vec![0; name.into()])?;
        let _header_checksum = read_u32(&mut from)?;
        Ok(Decoder { from, flags, block: Vec::new(), position: 0, ended: false })
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.position = 0;
        self.block.clear();
        if self.ended {
            return Ok(());
        }
        let unpacked = read_u32(&mut self.from)?;
        if unpacked == 0 {
            self.ended = true;
            return Ok(());
        }
        let packed = read_u32(&mut self.from)?;
        if unpacked > LARGEST_BLOCK || packed > unpacked {
            return Err(invalid("an lzop block of an impossible size"));
        }
        let unpacked_adler = self.checksum(ADLER32_UNPACKED)?;
        let unpacked_crc = self.checksum(CRC32_UNPACKED)?;
        // A block that did not compress is stored, and has no second pair of checksums.
        let stored = packed == unpacked;
        let packed_adler = if stored { None } else { self.checksum(ADLER32_PACKED)? };
        let packed_crc = if stored { None } else { self.checksum(CRC32_PACKED)? };

        let mut data = vec![0; packed as usize];
        self.from.read_exact(&mut data)?;
        verify(&data, packed_adler, packed_crc)?;
        if stored {
            self.block = data;
        } else {
            self.block.resize(unpacked as usize, 0);
            let size = lzokay::decompress::decompress(&data, &mut self.block)
                .map_err(|error| invalid(&format!("a damaged lzo block: {error}")))?;
            if size != unpacked as usize {
                return Err(invalid("an lzo block that is shorter than it says"));
            }
        }
        verify(&self.block, unpacked_adler, unpacked_crc)
    }

    fn checksum(&mut self, flag: u32) -> io::Result<Option<u32>> {
        if self.flags & flag == 0 { Ok(None) } else { read_u32(&mut self.from).map(Some) }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.block.len() {
            self.next_block()?;
        }
        let read = (&self.block[self.position..]).read(buffer)?;
        self.position += read;
        Ok(read)
    }
}

fn verify(data: &[u8], adler: Option<u32>, crc: Option<u32>) -> io::Result<()> {
    if adler.is_some_and(|expected| adler32(data) != expected)
        || crc.is_some_and(|expected| crc32(data) != expected)
    {
        return Err(invalid("an lzop block's checksum is wrong"));
    }
    Ok(())
}

/// RFC 1950's checksum.
fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    // The most bytes that can be summed before the second sum leaves 32 bits.
    const RUN: usize = 5552;
    let (mut a, mut b) = (1_u32, 0_u32);
    for run in data.chunks(RUN) {
        for byte in run {
            a += u32::from(*byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}

fn read_u8(from: &mut impl Read) -> io::Result<u8> {
    let mut bytes = [0; 1];
    from.read_exact(&mut bytes)?;
    Ok(bytes[0])
}

fn read_u16(from: &mut impl Read) -> io::Result<u16> {
    let mut bytes = [0; 2];
    from.read_exact(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

fn read_u32(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
