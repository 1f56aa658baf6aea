//! Machines on one image share its pages in the host's memory, and hold no copies; unless they are not to.
//!
//! Four machines here; `scripts/bench-sharing` measures twenty.

use tests::Store;

const MIB: u64 = 1 << 20;

#[test]
fn the_pages_of_an_image_are_in_memory_once() {
    let store = Store::copy("debian");
    let rootfs = store.rootfs;
    assert!(rootfs > 100 * MIB, "{rootfs} bytes");
    let memory = ["--memory", "320m"];

    const MACHINES: u64 = 4;
    let shared = store.measure(MACHINES as usize, &memory);
    println!("shared: {shared:#?}");
    assert!(shared.page_cache <= rootfs + rootfs / 20, "once, not for each machine");
    assert!(shared.page_cache >= rootfs / 2, "all of them have read it");
    for machine in &shared.monitors {
        assert!(machine.read > rootfs / 2, "it has read everything");
        assert!(machine.image <= rootfs / MACHINES + rootfs / 20, "it has its share of the pages");
        assert_eq!(machine.copy, 0);
        assert!(machine.other <= 5 * MIB);
        assert!(
            machine.guest_cache <= machine.without_dax + MIB,
            "the guest keeps small files and directories only"
        );
    }

    let block = store.measure(2, &[&memory[..], &["--rootfs-device", "blk"]].concat());
    println!("blk: {block:#?}");
    assert!(block.page_cache <= rootfs + rootfs / 20);
    for machine in &block.monitors {
        assert!(machine.guest_cache > rootfs * 8 / 10, "each guest holds a copy");
    }

    let private = store.measure(1, &[&memory[..], &["--no-share"]].concat());
    println!("private: {private:#?}");
    assert!(private.page_cache < rootfs / 20, "the copy was read past the page cache");
    for machine in &private.monitors {
        assert_eq!(machine.image, 0, "no page of the store's files");
        assert!((rootfs * 8 / 10..=rootfs + 2 * MIB).contains(&machine.copy), "a copy of its own");
        assert!(machine.guest_cache <= machine.without_dax + MIB);
    }
}
