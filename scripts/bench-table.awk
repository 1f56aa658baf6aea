# Makes the tables of docs/benchmarks.md from what bench-start and bench-rootfs print.

$1 == "command-line" { sub(/^command-line /, ""); command_line = $0; next }
$1 == "layer" { layer = $2; next }
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
# A contender's time in each round as a share of the digest's in the same round.
function disk(name, what, synced, _i, _least, _most) {
    for (_i = 1; _i <= count[name]; _i++) add(name " ratio", values[name, _i] / values["digest", _i])
    _least = _most = values[name " ratio", 1]
    for (_i = 2; _i <= count[name]; _i++) {
        if (values[name " ratio", _i] < _least) _least = values[name " ratio", _i]
        if (values[name " ratio", _i] > _most) _most = values[name " ratio", _i]
    }
    printf "| %s | %.2f | %.2f to %.2f | %s |\n", what, median(name " ratio"), _least, _most, synced
}

END {
    print "Start, in milliseconds of a clock that counts instructions (one is 500,000 of them); medians:\n"
    print "| | to the first byte | to exit | first byte, of microvm's | each run, to the first byte |"
    print "|---|---|---|---|---|"
    start("vmrun", "`vmrun run --rm -m 256m --cpus 1 busybox echo hello`")
    start("microvm", "QEMU microvm: the same kernel and command line, one program in an initramfs")
    printf "\nThe kernel's command line: `%s`.\n", command_line
    printf "\nOne gzip layer of %.0f MB, Debian's minbase, to a finished disk; medians of %d rounds:\n\n", \
        layer / 1e6, count["digest"]
    print "| | time, of `zcat \\| sha256sum`'s | least and most | what is on the disk at the end |"
    print "|---|---|---|---|"
    disk("digest", "`zcat LAYER \\| sha256sum`", "nothing is written")
    disk("load", "`vmrun load -i LAYOUT`", "all of it: blob, layer, metadata and names, synced")
    disk("unpack", "`umoci unpack` and `mkfs.erofs`", "all of it, nothing synced")
    disk("unpack_in_memory", "the same, in memory (tmpfs)", "nothing")
}
