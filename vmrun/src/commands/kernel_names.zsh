
# Names of kernels are known to the store alone.
_vmrun_kernel_names() {
    local expl
    local -a names
    names=(${(f)"$(command vmrun kernel ls -q 2>/dev/null)"})
    _wanted kernels expl kernel compadd -a names
}
