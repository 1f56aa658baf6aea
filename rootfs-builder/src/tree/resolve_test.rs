use super::*;
use crate::layer::Attributes;
use crate::tree::{InodeRow, Place, XattrSet};

fn add(tree: &mut Tree, parent: Node, name: &[u8], body: Body) -> Node {
    let inode = InodeRow { attributes: Attributes::default(), xattrs: XattrSet::EMPTY, links: 0, body };
    let inode = tree.add_inode(inode).unwrap();
    tree.link(parent, name, inode).unwrap()
}

const PLACE: Place = Place::Plain { layer: 0, block: 0 };

fn directory(tree: &mut Tree, path: &[u8]) -> Node {
    let resolved = tree.resolve(path).unwrap();
    tree.make(&resolved).unwrap()
}

fn link(tree: &mut Tree, parent: Node, name: &[u8], target: &[u8]) {
    let target = tree.add_text(target).unwrap();
    add(tree, parent, name, Body::Symlink { target, place: PLACE });
}

fn resolved(tree: &Tree, path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let resolved = tree.resolve(path).unwrap();
    (tree.path(resolved.node), resolved.missing.join(&b'/'))
}

#[test]
fn links_lead_anywhere_inside_and_nowhere_out() {
    let mut tree = Tree::new();
    let a = directory(&mut tree, b"usr/a");
    link(&mut tree, a, b"up", b"../../../../..");
    link(&mut tree, a, b"relative", b"../b/./c/");
    link(&mut tree, a, b"absolute", b"//usr//a");
    link(&mut tree, ROOT, b"dangling", b"nowhere/../else/where");
    for (path, node, missing) in [
        (&b""[..], &b""[..], &b""[..]),
        (b"usr/a", b"usr/a", b""),
        (b"usr/a/up/usr", b"usr", b""),
        (b"usr/a/up/up/up", b"", b"up/up"),
        (b"usr/a/relative/d", b"usr", b"b/c/d"),
        (b"usr/a/absolute/absolute/x", b"usr/a", b"x"),
        (b"dangling/x", b"", b"else/where/x"),
    ] {
        assert_eq!(resolved(&tree, path), (node.to_vec(), missing.to_vec()), "{}", path.escape_ascii());
    }
}

#[test]
fn loops_and_files_are_obstacles() {
    let mut tree = Tree::new();
    link(&mut tree, ROOT, b"a", b"b");
    link(&mut tree, ROOT, b"b", b"/a");
    link(&mut tree, ROOT, b"longer", b"longer/longer");
    let file = add(&mut tree, ROOT, b"file", Body::File { size: 0, place: PLACE });
    assert_eq!(tree.resolve(b"a"), Err(Obstacle::Loop));
    assert_eq!(tree.resolve(b"longer/x"), Err(Obstacle::Loop));
    assert_eq!(tree.resolve(b"file/x"), Err(Obstacle::NoDirectory(file)));
}

#[test]
fn what_is_removed_is_gone_with_all_below() {
    let mut tree = Tree::new();
    let deep = directory(&mut tree, b"a/b/c/d");
    let file = add(&mut tree, deep, b"f", Body::File { size: 0, place: PLACE });
    let kept = directory(&mut tree, b"z");
    let inode = tree.inode_of(file);
    tree.link(kept, b"g", inode).unwrap();
    assert_eq!(tree.inode(inode).links, 2);
    let a = tree.child(ROOT, b"a").unwrap();
    tree.remove(a);
    assert_eq!((tree.child(ROOT, b"a"), tree.child(deep, b"f")), (None, None));
    assert_eq!(tree.inode(inode).links, 1);
    assert_eq!(tree.children(ROOT).collect::<Vec<_>>(), [kept]);
    assert_eq!(resolved(&tree, b"a/b"), (b"".to_vec(), b"a/b".to_vec()));
}
