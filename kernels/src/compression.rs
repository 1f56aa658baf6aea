//! Compressed streams, told apart by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use liblzma::stream::Stream;

/// The most memory an xz or lzma decoder may ask for. Kernels are packed with dictionaries of at
/// most 128 MiB.
const DECODER_MEMORY: u64 = 256 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    Lzma,
    /// The frame that `lz4 -l` writes and the kernel's decompressor reads.
    Lz4Legacy,
    /// What `lzop` writes.
    Lzop,
}

/// As many bytes as [`Compression::of`] wants to see.
pub const MAGIC_LENGTH: usize = 9;

impl Compression {
    /// Tells the compression by the first bytes.
    pub fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A frame to be skipped, with which pzstd begins.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            [0x5d, 0, 0, ..] => Compression::Lzma,
            [0x02, 0x21, 0x4c, 0x18, ..] => Compression::Lz4Legacy,
            [0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', 0x1a, b'\n', ..] => Compression::Lzop,
            _ => Compression::None,
        }
    }
}

/// Decompresses `from`, whatever its compression. Bytes behind the compressed stream's end are
/// not looked at: a kernel's payload ends with its unpacked size.
pub fn reader<'a>(from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    recognised(from, Streams::First)
}

/// Decompresses all of `from`: the compressed streams that follow one another, as packers that use several processors
/// (pzstd, pbzip2) write them.
pub fn whole_reader<'a>(from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    recognised(from, Streams::All)
}

/// How many compressed streams are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    First,
    All,
}

fn recognised<'a>(from: impl Read + 'a, streams: Streams) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = BufReader::with_capacity(64 << 10, from);
    let mut start = [0; MAGIC_LENGTH];
    let read = read_start(&mut from, &mut start)?;
    let compression = Compression::of(&start[..read]);
    // A stream of zstd that begins with a frame to be skipped has another one at least.
    let is_skipped = compression == Compression::Zstd && start[1..4] == [0x2a, 0x4d, 0x18];
    let streams = if is_skipped { Streams::All } else { streams };
    let from = io::Cursor::new(start).take(read as u64).chain(from);
    decoder(compression, from, streams)
}

fn decoder<'a>(
    compression: Compression,
    from: impl BufRead + 'a,
    streams: Streams,
) -> io::Result<Box<dyn Read + 'a>> {
    use Streams::{All, First};
    Ok(match (compression, streams) {
        (Compression::None, _) => Box::new(from),
        (Compression::Gzip, First) => Box::new(flate2::bufread::GzDecoder::new(from)),
        (Compression::Gzip, All) => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        (Compression::Xz, streams) => {
            let flags = if streams == All { liblzma::stream::CONCATENATED } else { 0 };
            let stream = Stream::new_stream_decoder(DECODER_MEMORY, flags)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(from, stream))
        }
        (Compression::Lzma, _) => {
            Box::new(liblzma::bufread::XzDecoder::new_stream(from, Stream::new_lzma_decoder(DECODER_MEMORY)?))
        }
        (Compression::Zstd, First) => {
            Box::new(zstd::stream::read::Decoder::with_buffer(from)?.single_frame())
        }
        (Compression::Zstd, All) => Box::new(zstd::stream::read::Decoder::with_buffer(from)?),
        (Compression::Bzip2, First) => Box::new(bzip2::bufread::BzDecoder::new(from)),
        (Compression::Bzip2, All) => Box::new(bzip2::bufread::MultiBzDecoder::new(from)),
        (Compression::Lz4Legacy, _) => Box::new(crate::lz4_legacy::Decoder::new(from)?),
        (Compression::Lzop, _) => Box::new(crate::lzop::Decoder::new(from)?),
    })
}

/// Fills `start` as far as `from` goes.
pub fn read_start(from: &mut impl Read, start: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < start.len() {
        match from.read(&mut start[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::tool;

    #[test]
    fn streams_that_follow_one_another_are_one_where_that_is_wanted() {
        let [first, second] = [vec![b'a'; 300_000], vec![b'b'; 300_000]];
        for packer in ["gzip", "xz", "zstd", "bzip2"] {
            let packed = [tool(packer, &[], &first), tool(packer, &[], &second)].concat();
            let mut unpacked = Vec::new();
            whole_reader(&packed[..]).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == [&first[..], &second[..]].concat(), "{packer}");
            unpacked.clear();
            reader(&packed[..]).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == first, "{packer}");
            // A second stream that is cut off is no end.
            let cut = whole_reader(&packed[..packed.len() - 9]).unwrap().read_to_end(&mut Vec::new());
            assert!(cut.is_err(), "{packer}");
        }
    }

    #[test]
    fn what_pzstd_writes_is_zstd() {
        let content: Vec<u8> =
            (0..700_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let packed = tool("pzstd", &["-q", "-p", "2", "-1"], &content);
        assert_eq!(packed[1..4], [0x2a, 0x4d, 0x18]);
        assert_eq!(Compression::of(&packed), Compression::Zstd);
        for unpack in [reader, whole_reader] {
            let mut unpacked = Vec::new();
            unpack(&packed[..]).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == content);
        }
        let cut = whole_reader(&packed[..packed.len() - 9]).unwrap().read_to_end(&mut Vec::new());
        assert!(cut.is_err());
    }
}
