"""PyTorch as a contender (see lines.py)."""

import torch
import torch.nn.functional as F

from lines import read_floats, serve
from pytorch_networks import network


def load(file):
    values = torch.frombuffer(read_floats(file), dtype=torch.int32 if file["dtype"] == "int32" else torch.float32)
    return values.reshape(file["shape"]).clone()


def sample(tensor):
    """A result's reader: every step-th value in row-major order of NCHW."""
    return lambda step: tensor().detach().contiguous().flatten()[::step].contiguous().numpy()


def load_state(module, files):
    state = module.state_dict()
    for name in state:
        if "state/" + name in files:
            state[name] = load(files["state/" + name])
        elif not name.endswith("num_batches_tracked"):
            raise ValueError("no values for " + name)
    module.load_state_dict(state)


def prepare_conv(task, files, layout):
    tensors = {name: layout(load(file)) for name, file in files.items()}
    stride, padding = [task["stride"]] * 2, [task["padding"]] * 2
    x, w = tensors["x"], tensors["w"]
    if task["direction"] == "forward":
        call = lambda: F.conv2d(x, w, None, stride, padding, 1, task["groups"])
        return call, sample(call)
    mask = [task["direction"] == "input", task["direction"] == "weight", False]
    dy = tensors["dy"]
    call = lambda: torch.ops.aten.convolution_backward(
        dy, x, w, None, stride, padding, [1, 1], False, [0, 0], task["groups"], mask
    )
    return call, sample(lambda: call()[0 if mask[0] else 1])


def prepare_batch_norm(task, files, layout):
    x, dy = layout(load(files["x"])), layout(load(files["dy"]))
    weight, bias = load(files["weight"]), load(files["bias"])
    mean, variance = torch.zeros(task["channels"]), torch.ones(task["channels"])
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    forward = lambda: F.relu(F.batch_norm(x, mean, variance, weight, bias, True))
    if task["direction"] == "forward":
        return forward, sample(forward)
    y = forward()
    backward = lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)
    return backward, sample(lambda: backward()[0])


def prepare_gemm(task, files, layout):
    a, b = load(files["a"]), load(files["b"])
    call = (lambda: F.linear(a, b)) if task["transposed"] else (lambda: torch.mm(a, b))
    return call, sample(call)


def norm_logarithm(gradient):
    """The same number as in xcorr_tasks.js."""
    return ((gradient.double() ** 2).sum() + 1e-4).log().item() / 2


def prepare_network(task, files, layout):
    module = layout(network(task))
    load_state(module, files)
    x = layout(load(files["x"]))
    if task["kind"] == "infer":
        module.eval()
        call = lambda: module(x)
        return call, sample(call)
    target = load(files["target"]).long()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.001, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(module(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    before = step()
    norms = [norm_logarithm(parameter.grad) for _, parameter in sorted(module.named_parameters())]
    results = torch.tensor([before, step(), *norms])
    return step, sample(lambda: results)


def prepare_overhead(task, files, layout):
    a, b = load(files["a"]), load(files["b"])
    if task["what"] != "add":
        a.requires_grad_()
    if task["what"] == "add_sum_backward":
        call = lambda: (a + b).sum().backward()
    else:
        call = lambda: a + b
    return call, sample(lambda: a + b)


PREPARE = {
    "conv": prepare_conv,
    "batch_norm": prepare_batch_norm,
    "gemm": prepare_gemm,
    "train": prepare_network,
    "infer": prepare_network,
    "overhead": prepare_overhead,
}


def prepare(task, files, layout):
    if task["kind"] == "export_onnx":
        return export_onnx(task, files)
    last = layout == "channels_last"
    to_layout = lambda value: value.to(memory_format=torch.channels_last) if last else value
    recorded = task["kind"] in ("train", "batch_norm") or task.get("what", "add") != "add"
    with torch.set_grad_enabled(recorded):
        call, result = PREPARE[task["kind"]](task, files, to_layout)

    def timed():
        with torch.set_grad_enabled(recorded):
            call()

    def read(step):
        with torch.set_grad_enabled(recorded):
            return result(step)

    # Switching the mode costs as much as a small op: inside the timed loop only where it is nothing beside the work.
    if task["kind"] == "overhead":
        torch.set_grad_enabled(recorded)
        return call, read
    return timed, read


def export_onnx(task, files):
    """Writes task["path"]: how onnxruntime gets its networks. PyTorch folds batch norm into convolutions on the way."""
    module = network(task)
    load_state(module, files)
    x = load(files["x"])
    torch.onnx.export(module.eval(), x, task["path"], opset_version=13, input_names=["x"], output_names=["y"])
    return (lambda: None), sample(lambda: module(x))


def describe():
    config = torch.__config__.show()
    dnn = [line.strip(" -") for line in config.split("\n") if "MKL-DNN" in line or "oneDNN" in line]
    return f"PyTorch {torch.__version__}, " + ", ".join(dnn)


serve(prepare, describe, torch.set_num_threads)
