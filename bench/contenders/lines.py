"""A contender's process: reads one JSON request a line, answers each with one JSON line."""

import array
import json
import sys
import time


def read_floats(file):
    values = array.array("i" if file["dtype"] == "int32" else "f")
    with open(file["path"], "rb") as stream:
        values.frombytes(stream.read())
    return values


def peak_bytes(name):
    """VmHWM (the most memory ever held) or VmRSS of this process."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no " + name + " in /proc/self/status")


def serve(prepare, describe, set_threads):
    """prepare(task, files, layout) gives (call, result): call() computes once, result(step) gives an array of floats."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints is taken for an answer
    prepared = {}

    def answer(request):
        do = request["do"]
        if do == "hello":
            return {"about": describe()}
        if do == "prepare":
            set_threads(request["threads"])
            key = len(prepared)
            prepared[key] = prepare(request["task"], request["files"], request["layout"])
            return {"id": key}
        if do == "run":
            call = prepared[request["id"]][0]
            start = time.perf_counter()
            for _ in range(request["iterations"]):
                call()
            return {"seconds": time.perf_counter() - start}
        if do == "result":
            values = prepared[request["id"]][1](request["step"])
            with open(request["path"], "wb") as stream:
                stream.write(memoryview(values).cast("B"))
            return {}
        if do == "drop":
            prepared[request["id"]] = None
            return {}
        if do == "memory":
            return {"peak": peak_bytes("VmHWM"), "now": peak_bytes("VmRSS")}
        raise ValueError("unknown request " + do)

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # the bench names it beside the case
            reply = {"error": type(error).__name__ + ": " + str(error).split("\n")[0]}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
