# Makes the tables of docs/benchmarks.md from what bench-start, bench-io and bench-images print.

$1 == "command-line" { sub(/^command-line /, ""); command_line = $0; next }
$1 == "phase" { phase[$2, $3] = $4; next }
$1 == "layer" { layer = $2; next }
NF == 3 && $3 ~ /[a-zA-Z]/ { add($1, $2); next }
NF == 3 { add($1 " first", $2); add($1 " exit", $3); next }
NF == 2 { add($1, $2) }

function add(name, value) { values[name, ++count[name]] = value }

# The value of `name` with as many below as above, by insertion into a sorted copy.
function median(name, _sorted, _i, _j, _n, _value) {
    _n = count[name]
    for (_i = 1; _i <= _n; _i++) {
        _value = values[name, _i]
        for (_j = _i; _j > 1 && _sorted[_j - 1] > _value; _j--) _sorted[_j] = _sorted[_j - 1]
        _sorted[_j] = _value
    }
    return _n % 2 ? _sorted[(_n + 1) / 2] : (_sorted[_n / 2] + _sorted[_n / 2 + 1]) / 2
}
function each(name, _i, _line) {
    for (_i = 1; _i <= count[name]; _i++) _line = _line (_i > 1 ? ", " : "") sprintf("%.0f", values[name, _i])
    return _line
}
function start(name, what) {
    if (count[name " first"] == 0) return
    printf "| %s | %.0f | %.0f | %.2f | %s |\n", what, median(name " first"), median(name " exit"), \
        median(name " first") / median("microvm first"), each(name " first")
}
function phases(name, what) {
    printf "| %s | %s | %s | %s | %s | %s | %s |\n", what, phase[name, "prepare"], phase[name, "kernel"], \
        phase[name, "bootfs"], phase[name, "rootfs"], phase[name, "process"], phase[name, "total"]
}
# A contender's time in each round as a share of another's in the same round: median, least and most.
function ratio(name, other, _key, _i, _least, _most) {
    _key = name " of " other
    for (_i = 1; _i <= count[name]; _i++) add(_key, values[name, _i] / values[other, _i])
    _least = _most = values[_key, 1]
    for (_i = 2; _i <= count[name]; _i++) {
        if (values[_key, _i] < _least) _least = values[_key, _i]
        if (values[_key, _i] > _most) _most = values[_key, _i]
    }
    return sprintf("%.2f | %.2f to %.2f", median(_key), _least, _most)
}
function disk(name, what, synced) { printf "| %s | %s | %s |\n", what, ratio(name, "digest"), synced }

function io(name, what, unit) {
    printf "| %s | %.0f %s | %.0f %s | %s |\n", what, median("vmrun-" name), unit, median("microvm-" name), unit, \
        ratio("vmrun-" name, "microvm-" name)
}

END {
    print "Start, in milliseconds of a clock that counts instructions (one is 500,000 of them); medians:\n"
    print "| | to the first byte | to exit | first byte, of microvm's | each run, to the first byte |"
    print "|---|---|---|---|---|"
    start("vmrun", "`vmrun run --rm -m 256m --cpus 1 busybox echo hello`")
    start("microvm", "QEMU microvm: the same kernel and command line, one program in an initramfs")
    start("generic", "`--kernel debian-generic`: Debian's generic kernel of the same version")
    start("own", "`--kernel own`: what `vmrun kernel build` makes")
    print "\nThe phases of one start (`--timing`), in the same unit:\n"
    print "| kernel | prepare | kernel | bootfs | rootfs | process | total |"
    print "|---|---|---|---|---|---|---|"
    phases("debian", "cloud")
    phases("debian-generic", "generic")
    phases("own", "our own")
    printf "\nThe kernel's command line: `%s`.\n", command_line
    print "\nStreams and the writable layer, by the same clock; more is better; medians:\n"
    print "| | vmrun | QEMU microvm | of microvm's | least and most |"
    print "|---|---|---|---|---|"
    io("streams", "from standard input through the guest's `cat` to standard output", "MiB/s")
    io("random", "writes of 4 KiB in random places, an fsync at the end", "MiB/s")
    io("direct", "the same past the page cache, one at a time", "a second")
    io("fsync", "writes of 4 KiB in random places, each with an fdatasync", "a second")
    io("append", "lines appended, each with an fsync", "a second")
    printf "\nOne gzip layer of %.0f MB, Debian's minbase, to a finished disk; medians of %d rounds:\n\n", \
        layer / 1e6, count["digest"]
    print "| | time, of `zcat \\| sha256sum`'s | least and most | what is on the disk at the end |"
    print "|---|---|---|---|"
    disk("digest", "`zcat LAYER \\| sha256sum`", "nothing is written")
    disk("load", "`vmrun load -i LAYOUT`", "all of it: blob, layer, metadata and names, synced")
    disk("load_ten", "the same files in ten layers, `vmrun load -i LAYOUT`", "all of it, synced")
    disk("unpack", "`umoci unpack` and `mkfs.erofs`", "all of it, nothing synced")
    disk("unpack_in_memory", "`umoci unpack` and `mkfs.erofs`, in memory (tmpfs)", "nothing")
    disk("skopeo_copy", "`skopeo copy docker://localhost… oci:…`", "the blob, nothing synced")
    disk("pull", "`vmrun pull localhost…`", "all of it: blob, layer, metadata and names, synced")
    print "\nThe same, held against one another in the same rounds:\n"
    print "| | median | least and most |"
    print "|---|---|---|"
    printf "| `vmrun load`, of `umoci unpack` and `mkfs.erofs` on the same disk | %s |\n", ratio("load", "unpack")
    printf "| `vmrun load`, of the same in memory | %s |\n", ratio("load", "unpack_in_memory")
    printf "| ten layers, of one layer | %s |\n", ratio("load_ten", "load")
    printf "| `vmrun pull`, of `skopeo copy` | %s |\n", ratio("pull", "skopeo_copy")
    print "\nWhat an image costs:\n"
    print "| | |"
    print "|---|---|"
    printf "| processor time to add an image of a known base and a layer of 1 MB | %.0f ms |\n", median("derived_cpu")
    printf "| disk that it takes beside its own layer | %.0f KB, %.2f %% of the base |\n", \
        median("derived_disk") / 1000, 100 * median("derived_disk") / median("base_disk")
    printf "| peak memory of building a layer of 5 files of 1 GiB each | %.0f MiB |\n", median("memory_large") / 1024
    printf "| peak memory of building a layer of 300,000 small files | %.0f MiB |\n", median("memory_small") / 1024
}
