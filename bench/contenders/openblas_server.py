"""OpenBLAS's sgemm as a contender (see lines.py), through ctypes: no NumPy needed."""

import array
import ctypes
import ctypes.util
import glob
import os
import sys

from lines import read_floats, serve

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112


def find():
    """The library and the prefix of its names: the system's, or the one of the package scipy-openblas32."""
    paths = [os.environ["OPENBLAS_PATH"]] if os.environ.get("OPENBLAS_PATH") else []
    for folder in sys.path:
        paths += glob.glob(os.path.join(folder, "scipy_openblas32", "lib", "libscipy_openblas*.so"))
    paths += [name for name in ("libopenblas.so.0", ctypes.util.find_library("openblas")) if name]
    for path in paths:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for prefix in ("", "scipy_"):
            if hasattr(library, prefix + "cblas_sgemm"):
                return library, prefix
    print("no OpenBLAS: install libopenblas0-openmp, or the Python package scipy-openblas32", file=sys.stderr)
    sys.exit(3)


LIBRARY, PREFIX = find()


def function(name):
    return getattr(LIBRARY, PREFIX + name)


def prepare(task, files, layout):
    if task["kind"] != "gemm":
        raise ValueError("OpenBLAS multiplies matrices only")
    a, b = read_floats(files["a"]), read_floats(files["b"])
    m, n, k = task["m"], task["n"], task["k"]
    c = array.array("f", bytes(4 * m * n))
    pointer = lambda values: ctypes.c_void_p(values.buffer_info()[0])
    integers = [ctypes.c_int(value) for value in (m, n, k)]
    arguments = [
        ctypes.c_int(ROW_MAJOR), ctypes.c_int(PLAIN), ctypes.c_int(TRANSPOSED if task["transposed"] else PLAIN),
        *integers, ctypes.c_float(1), pointer(a), ctypes.c_int(k),
        pointer(b), ctypes.c_int(k if task["transposed"] else n), ctypes.c_float(0), pointer(c), ctypes.c_int(n),
    ]
    sgemm = function("cblas_sgemm")
    kept = (a, b)  # the pointers point into these

    def call():
        sgemm(*arguments)
        return kept

    def result(step):
        call()
        return c[::step]

    return call, result


def describe():
    core, config = function("openblas_get_corename"), function("openblas_get_config")
    core.restype = config.restype = ctypes.c_char_p
    return f"OpenBLAS {config().decode()}, kernels {core().decode()}"


serve(prepare, describe, lambda threads: function("openblas_set_num_threads")(ctypes.c_int(threads)))
