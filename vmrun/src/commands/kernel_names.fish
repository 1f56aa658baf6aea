
# Names of kernels are known to the store alone.
function __vmrun_kernel_names
    command vmrun kernel ls -q 2>/dev/null
end
complete -c vmrun -n "__fish_seen_subcommand_from run create matrix emulate" -l kernel -x -a "(__vmrun_kernel_names)"
complete -c vmrun -n "__fish_vmrun_using_subcommand kernel; and __fish_seen_subcommand_from inspect rm default" -f -a "(__vmrun_kernel_names)"
