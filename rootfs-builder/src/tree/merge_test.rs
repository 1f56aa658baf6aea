use super::*;
use crate::layer::build;
use crate::tree::Limits;
use std::io::{Read, Seek};

/// A layer's table, made of an archive as a user would have it.
fn table(add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Table {
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive);
    let archive = archive.into_inner().unwrap();
    let (data, mut entries) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    build(&archive[..], data, entries.try_clone().unwrap(), &Default::default()).unwrap();
    let mut content = Vec::new();
    entries.rewind().unwrap();
    entries.read_to_end(&mut content).unwrap();
    Table::parse(content).unwrap()
}

fn file(archive: &mut tar::Builder<Vec<u8>>, path: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, &[][..]).unwrap();
}

fn said(limits: Limits, layers: &[Table]) -> String {
    let mut tree = Tree::with_limits(limits);
    let merged =
        layers.iter().enumerate().try_for_each(|(layer, table)| merge(&mut tree, layer as u16, table));
    assert!(tree.nodes.len() <= limits.files as usize && tree.inodes.len() <= limits.files as usize);
    merged.map_or_else(|error| error.to_string(), |()| String::new())
}

/// An archive of a megabyte could have a hundred million of them.
#[test]
fn directories_that_nobody_mentions_count() {
    let deep = table(|archive| {
        for number in 0..100 {
            file(archive, &format!("{number}/{}f", "a/".repeat(1000)));
        }
    });
    let limits = Limits { files: 50_000, ..Limits::default() };
    let error = said(limits, &[deep]);
    assert!(error.starts_with("layer 1, tar entry `49/a/a/"), "{error}");
    assert!(
        error.ends_with("the image's layers have over 50000 files and directories, the limit"),
        "{error}"
    );
}

#[test]
fn all_layers_and_all_they_replace_count_together() {
    let layer = || {
        table(|archive| {
            for number in 0..100 {
                file(archive, &format!("name-{number}"));
            }
        })
    };
    let limits = Limits { files: 350, ..Limits::default() };
    assert_eq!(said(limits, &[layer(), layer(), layer()]), "");
    let error = said(limits, &[layer(), layer(), layer(), layer()]);
    assert!(error.starts_with("layer 4, tar entry `name-49`") && error.contains("over 350 files"), "{error}");
    let limits = Limits { text_bytes: 1000, ..Limits::default() };
    let error = said(limits, &[layer(), layer()]);
    assert!(error.starts_with("layer 2") && error.contains("over 1000 bytes of names"), "{error}");
}

#[test]
fn extended_attributes_count_once_for_all_that_have_them() {
    let layer = |different: bool| {
        table(|archive| {
            for number in 0..100 {
                let value = if different { number } else { 0 };
                let value = format!("{value:0500}");
                archive.append_pax_extensions([("SCHILY.xattr.user.a", value.as_bytes())]).unwrap();
                file(archive, &format!("{number}"));
            }
        })
    };
    let limits = Limits { xattr_bytes: 50_000, ..Limits::default() };
    assert_eq!(said(limits, &[layer(false), layer(false)]), "");
    let error = said(limits, &[layer(true)]);
    assert!(error.contains("over 50000 bytes of extended attributes, the limit"), "{error}");
}
