//! Looking things up in the index files, whose format `kernels/src/modules/index/trie.rs` tells. Of a file, only the
//! few nodes on the way are read.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};

use super::pattern;

const MAGIC: u32 = 0xb007_f457;
const MAJOR_VERSION: u32 = 2;

const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;
const OFFSET: u32 = 0x0fff_ffff;

/// How much is read at a time: most nodes are far smaller.
const PIECE: usize = 1024;

/// No key is longer, so the trie is not deeper.
const DEEPEST: usize = 1024;

/// Letters that make a key a pattern.
const WILD: [u8; 3] = *b"*?[";

pub struct Trie {
    file: OwnedFd,
    root: u32,
}

/// A node without what is below it.
#[derive(Default)]
struct Node {
    prefix: Vec<u8>,
    /// The byte that leads to the first child, and offsets from there on; 0 is none.
    first: u8,
    children: Vec<u32>,
    values: Vec<(u32, String)>,
}

impl Node {
    fn child(&self, byte: u8) -> Option<u32> {
        let place = byte.checked_sub(self.first)?;
        self.children.get(usize::from(place)).copied().filter(|offset| *offset != 0)
    }
}

impl Trie {
    /// Opens the file `name` of the disk.
    pub fn open(disk: &OwnedFd, name: &str) -> Result<Trie, Errno> {
        let file = openat(disk, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut head = Reader { file: &file, position: 0, piece: Vec::new(), at: 0 };
        if head.number()? != MAGIC || head.number()? >> 16 != MAJOR_VERSION {
            return Err(Errno::INVAL);
        }
        let root = head.number()?;
        Ok(Trie { file, root })
    }

    /// The values of `key` itself, the first by priority first.
    pub fn exact(&self, key: &str) -> Result<Vec<String>, Errno> {
        let (mut offset, mut rest) = (self.root, key.as_bytes());
        loop {
            let node = self.node(offset)?;
            let Some(behind) = rest.strip_prefix(node.prefix.as_slice()) else { return Ok(Vec::new()) };
            let Some((byte, behind)) = behind.split_first() else { return Ok(in_order(node.values)) };
            match node.child(*byte) {
                Some(child) => (offset, rest) = (child, behind),
                None => return Ok(Vec::new()),
            }
        }
    }

    /// The values of all keys that, as patterns, stand for `text`.
    pub fn matching(&self, text: &str) -> Result<Vec<String>, Errno> {
        let mut found = Vec::new();
        let (mut offset, mut rest) = (self.root, text.as_bytes());
        // As far as the key is literal, there is one way; beside it, a pattern may begin anywhere.
        loop {
            let node = self.node(offset)?;
            let literal = node.prefix.iter().position(|byte| WILD.contains(byte));
            let Some(behind) = rest.strip_prefix(&node.prefix[..literal.unwrap_or(node.prefix.len())]) else {
                break;
            };
            if let Some(literal) = literal {
                self.collect(&node, node.prefix[literal..].to_vec(), behind, &mut found, 0)?;
                break;
            }
            for wild in WILD {
                if let Some(child) = node.child(wild) {
                    let child = self.node(child)?;
                    let pattern = [&[wild], child.prefix.as_slice()].concat();
                    self.collect(&child, pattern, behind, &mut found, 0)?;
                }
            }
            let Some((byte, behind)) = behind.split_first() else {
                found.extend(node.values);
                break;
            };
            match node.child(*byte) {
                Some(child) => (offset, rest) = (child, behind),
                None => break,
            }
        }
        Ok(in_order(found))
    }

    /// Adds the values of `node`, to which `pattern` leads, and of all below it, where they stand for `text`.
    fn collect(
        &self,
        node: &Node,
        pattern: Vec<u8>,
        text: &[u8],
        found: &mut Vec<(u32, String)>,
        depth: usize,
    ) -> Result<(), Errno> {
        if depth > DEEPEST {
            return Err(Errno::INVAL);
        }
        for (byte, child) in (node.first..).zip(&node.children).filter(|(_, child)| **child != 0) {
            let child = self.node(*child)?;
            let pattern = [pattern.as_slice(), &[byte], &child.prefix].concat();
            self.collect(&child, pattern, text, found, depth + 1)?;
        }
        if !node.values.is_empty() && pattern::matches(&pattern, text) {
            found.extend(node.values.iter().cloned());
        }
        Ok(())
    }

    fn node(&self, offset: u32) -> Result<Node, Errno> {
        let mut node = Node::default();
        let mut from =
            Reader { file: &self.file, position: u64::from(offset & OFFSET), piece: Vec::new(), at: 0 };
        if offset & PREFIX != 0 {
            node.prefix = from.text()?;
        }
        if offset & CHILDREN != 0 {
            node.first = from.byte()?;
            for _ in node.first..=from.byte()? {
                node.children.push(from.number()?);
            }
        }
        if offset & VALUES != 0 {
            for _ in 0..from.number()? {
                let priority = from.number()?;
                node.values.push((priority, String::from_utf8_lossy(&from.text()?).into_owned()));
            }
        }
        Ok(node)
    }
}

fn in_order(mut values: Vec<(u32, String)>) -> Vec<String> {
    values.sort_by_key(|(priority, _)| *priority);
    let mut names: Vec<String> = Vec::new();
    for (_, name) in values {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A file from some position on.
struct Reader<'a> {
    file: &'a OwnedFd,
    position: u64,
    piece: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Errno> {
        if self.at == self.piece.len() {
            self.piece.resize(PIECE, 0);
            let read = pread(self.file, self.piece.as_mut_slice(), self.position)?;
            self.piece.truncate(read);
            self.position += read as u64;
            self.at = 0;
        }
        let byte = *self.piece.get(self.at).ok_or(Errno::INVAL)?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u32, Errno> {
        let bytes = [self.byte()?, self.byte()?, self.byte()?, self.byte()?];
        Ok(u32::from_be_bytes(bytes))
    }

    /// Up to a NUL.
    fn text(&mut self) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                0 => return Ok(text),
                byte => text.push(byte),
            }
        }
    }
}
