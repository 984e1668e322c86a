# Sourced by the launchers in this folder. With $root set to the repository root,
#
#     environment core          or          environment core test
#
# sets $python to a Python that has the project's packages (and its test tools), or exits saying why not.
# That is an earlier made virtual environment, else a Python that already has everything, used as it is,
# else a virtual environment made now.
#
# VDIP_PYTHON   the Python to use (default: the first of python3, python3.13, ... that is new enough)
# VDIP_VENV     the folder of the virtual environment (default: .venv in the repository root)

environment() {
    program=${0##*/}
    venv=${VDIP_VENV:-$root/.venv}
    case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
    # Whether there is an NVIDIA driver is asked here; what it can do is asked, slowly, only when setting up.
    if command -v nvidia-smi >/dev/null; then set -- "$@" nvidia; fi
    key=$(cat "$root/setup.cfg" "$root/pyproject.toml" | cksum)
    if [ -z "${VDIP_PYTHON:-}" ] && ready "$@"; then
        python=$venv/bin/python
    else
        base=$(find_python)
        python=$("$base" "$root/bin/environment.py" "$program" "$venv" "$key" "$@")
    fi
    # The checkout itself runs, not an installed copy, so that an edit takes effect.
    PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
    export PYTHONPATH
    # A chunk of steps takes its memory anew, hundreds of megabytes: in large pages where Linux leaves that to programs.
    GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
    export GLIBC_TUNABLES
    # On a GPU some seventy small products would each be tried in dozens of ways: minutes of compiling, for nothing.
    XLA_FLAGS="--xla_gpu_enable_triton_gemm=false${XLA_FLAGS:+ $XLA_FLAGS}"
    export XLA_FLAGS
}

# Whether the virtual environment holds the given parts. Every start waits for this answer, so no Python runs.
ready() {
    [ -x "$venv/bin/python" ] && [ -r "$venv/ready" ] || return 1
    { read -r made_for && read -r made_from && read -r parts; } <"$venv/ready" || return 1
    [ "$made_for" = "$key" ] && [ "$made_from" = "$(readlink -f "$venv/bin/python")" ] || return 1
    for part; do
        case " $parts " in *" $part "*) ;; *) return 1 ;; esac
    done
}

find_python() {
    if [ -n "${VDIP_PYTHON:-}" ]; then
        set -- "$VDIP_PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11 python3.14
    fi
    # A version manager's stand-in can be on the PATH and yet not run, so each candidate has to.
    for candidate; do
        if "$candidate" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    if [ -n "${VDIP_PYTHON:-}" ]; then
        echo "$program: VDIP_PYTHON=$VDIP_PYTHON does not run as Python 3.11 or newer." >&2
    else
        echo "$program: Python 3.11 or newer is needed and none was found: install one, or set VDIP_PYTHON to it." >&2
    fi
    exit 1
}
