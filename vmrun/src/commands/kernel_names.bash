
# Names of kernels are known to the store alone. A colon ends a word for readline: what comes before it stays.
_vmrun_kernel_names() {
    local line=${COMP_LINE:0:COMP_POINT}
    local name=${line##*[ =]}
    local before=${line%"$name"}
    if [[ $before =~ --kernel[\ =]+$ || $before =~ ^[^\ ]*vmrun\ +kernel\ +(inspect|rm|default)\ .*$ && $name != -* ]]; then
        local colon=${name%"${name##*:}"}
        COMPREPLY=($(compgen -W "$(command vmrun kernel ls -q 2>/dev/null)" -- "$name"))
        COMPREPLY=("${COMPREPLY[@]#"$colon"}")
    else
        _vmrun "$@"
    fi
}
complete -F _vmrun_kernel_names -o bashdefault -o default vmrun
