import { describe, expect, it } from "vitest";
import { run } from "../lib/backend/run.js";
import { computing, ways } from "./support/backends.js";
import { TestRandom } from "./support/random.js";
import {
  cat,
  exp,
  grad,
  GradientError,
  gradcheck,
  gradgradcheck,
  noGrad,
  ShapeError,
  tensor,
  type Tensor,
  zeros,
} from "./support/xcorr.js";

const leaf = (data: number | number[] | number[][]): Tensor =>
  tensor(data, { dtype: "float64", requiresGrad: true }) as Tensor;
const random = (shape: number[], seed = 1): Tensor => new TestRandom(seed).normal(shape).requiresGrad_();

describe("in-place operations", () => {
  it("change the tensor, return it and raise its version", () => {
    const x = tensor([1, 2], { dtype: "float64" });
    const version = x.storage.version;
    expect(x.add_(1)).toBe(x);
    expect(x.mul_(tensor([2, 3], { dtype: "float64" })).toArray()).toEqual([4, 9]);
    expect(x.sub_(1, { alpha: 2 }).toArray()).toEqual([2, 7]);
    expect(x.div_(2).toArray()).toEqual([1, 3.5]);
    expect(x.fill_(5).zero_().toArray()).toEqual([0, 0]);
    expect(x.copy_(tensor([3])).toArray()).toEqual([3, 3]);
    expect(x.storage.version).toBe(version + 7);
    expect(x.detach().storage.version).toBe(version + 7);
  });

  it("refuse what does not fit, and then change nothing", () => {
    const x = tensor([1, 2], { dtype: "float64" });
    expect(() => x.add_(zeros([3, 2], { dtype: "float64" }))).toThrow(ShapeError);
    expect(() => x.add_(zeros([3], { dtype: "float64" }))).toThrow(ShapeError);
    expect(x.toArray()).toEqual([1, 2]);
    expect(x.storage.version).toBe(0);
  });

  it("take part in the graph", () => {
    const x = random([3]);
    const w = random([3], 2);
    gradcheck(
      (a, b) => {
        const y = a!.mul(2);
        y.add_(b!);
        y.mul_(b!);
        y.sub_(a!);
        y.div_(b!);
        return y;
      },
      [x, w],
    );
    gradgradcheck((a, b) => exp(a!).clone().add_(a!.mul(b!)).mul(b!), [x, w]);
  });

  it("a tensor that became constant gives zeros", () => {
    const x = leaf([1, 2]);
    const y = x.mul(3);
    y.zero_();
    expect(y.requiresGrad).toBe(true);
    expect(grad(y.sum(), x)[0]!.toArray()).toEqual([0, 0]);
    const z = x.mul(3);
    z.copy_(tensor([7, 8], { dtype: "float64" }));
    expect(grad(z.sum(), x)[0]!.toArray()).toEqual([0, 0]);
  });

  it("copying gives the copy a history of its own", () => {
    const x = leaf([1, 2]);
    const source = x.mul(3);
    const y = zeros([2], { dtype: "float64" });
    y.copy_(source);
    const seen: unknown[] = [];
    y.registerHook((g) => void seen.push(g.toArray()));
    y.sum().add(source.mul(10).sum()).backward();
    expect(seen).toEqual([[1, 1]]);
    expect(x.grad!.toArray()).toEqual([33, 33]);
  });

  it("may read what they write", () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: "float64" },
    );
    x.copy_(x.transpose(0, 1));
    expect(x.toArray()).toEqual([
      [1, 3],
      [2, 4],
    ]);
    const a = random([2, 2]);
    gradcheck(
      (t) => {
        const y = t!.mul(1);
        return y.copy_(y.transpose(0, 1).add(y.mul(2)));
      },
      [a],
    );
    gradcheck(
      (t) => {
        const y = t!.mul(1);
        return y.copy_(y.transpose(0, 1));
      },
      [a],
    );
  });

  it("are forbidden on leaves that require gradients, and on views of them", () => {
    const x = leaf([
      [1, 2],
      [3, 4],
    ]);
    expect(() => x.add_(1)).toThrow(/add_: a leaf that requires gradients/);
    expect(() => x.select(0, 1).zero_()).toThrow(/fill_: a view of a leaf/);
    expect(x.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    noGrad(() => x.add_(1));
    noGrad(() => x.select(0, 1).zero_());
    expect(x.toArray()).toEqual([
      [2, 3],
      [0, 0],
    ]);
    const c = tensor([1, 2], { dtype: "float64" });
    c.add_(leaf([1, 1]));
    expect(c.requiresGrad).toBe(true);
    expect(c.isLeaf).toBe(false);
  });

  it("are forbidden where several elements are one place in memory", () => {
    const x = tensor([[1], [2]], { dtype: "float64" });
    expect(() => x.expand([2, 3]).add_(1)).toThrow(/several elements .* one place/);
    expect(() => noGrad(() => x.expand([2, 3]).add_(1))).toThrow(/clone\(\)/);
    expect(x.expand([2, 1]).add_(1).toArray()).toEqual([[2], [3]]); // nothing is repeated
  });

  it("are forbidden on a view made under noGrad, while recording", () => {
    const x = exp(leaf([1, 2, 3]));
    const view = noGrad(() => x.narrow(0, 0, 2));
    expect(() => view.add_(1)).toThrow(/a view made under noGrad/);
    noGrad(() => view.add_(1));
    const plain = zeros([3], { dtype: "float64" });
    const silent = noGrad(() => plain.narrow(0, 0, 2));
    expect(() => silent.copy_(leaf([1, 2]))).toThrow(GradientError);
    silent.add_(1); // nothing to record
    expect(plain.toArray()).toEqual([1, 1, 0]);
  });
});

describe("views made under noGrad", () => {
  it("are constants, and refuse to be used while recording once their base was changed", () => {
    const x = leaf([1, 2, 3]);
    const view = noGrad(() => x.narrow(0, 0, 2));
    expect(view.mul(2).requiresGrad).toBe(false);
    noGrad(() => x.add_(1));
    expect(() => view.mul(2)).toThrow(/made under noGrad \(by slice\).*changed in place/);
    expect(noGrad(() => view.mul(2)).toArray()).toEqual([4, 6]);
    expect(view.detach().mul(2).toArray()).toEqual([4, 6]);
  });

  it("overwriting a result gives what it was computed from zeros", () => {
    const [x, w] = [leaf([1, 2]), leaf([3, 4])];
    const y = x.mul(2);
    y.copy_(w);
    const [dx, dw] = grad(y.mul(5).sum(), [x, w]);
    expect(dx!.toArray()).toEqual([0, 0]);
    expect(dw!.toArray()).toEqual([5, 5]);
  });
});

describe("one of several views", () => {
  it("cannot be changed in place while recording, nor can views of it", () => {
    const x = exp(
      leaf([
        [1, 2],
        [3, 4],
      ]),
    );
    const [first] = x.split(1);
    const [row] = x.unbind();
    for (const view of [first!, row!, first!.select(0, 0), x.chunk(2, 1)[1]!]) {
      expect(() => view.mul_(2)).toThrow(/one of several views made by split/);
    }
    noGrad(() => row!.mul_(0));
    expect(x.select(0, 0).toArray()).toEqual([0, 0]);
    const plain = zeros([2, 2], { dtype: "float64" });
    plain.unbind()[1]!.add_(1); // nothing to record
    expect(plain.toArray()).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(() => plain.unbind()[1]!.copy_(leaf([1, 2]))).toThrow(/one of several/);
  });

  it("are differentiated together, and joined again", () => {
    const x = random([3, 2]);
    const join = (t: Tensor): Tensor => {
      const parts = t.unbind();
      return cat([exp(parts[2]!), parts[0]!, parts[1]!.mul(parts[2]!), parts[0]!]);
    };
    gradcheck((t) => join(t!), [x]);
    gradgradcheck((t) => join(t!), [x]);
    expect(grad(x.unbind()[1]!.sum(), x)[0]!.toArray()).toEqual([
      [0, 0],
      [1, 1],
      [0, 0],
    ]);
  });
});

describe("views", () => {
  // One of them is changed by a factor that is differentiated too, before or after the others were made; then one is read.
  const views: Record<string, (base: Tensor) => Tensor> = {
    base: (b) => b,
    row: (b) => b.select(0, 1),
    column: (b) => b.select(1, 0),
    part: (b) => b.narrow(1, 1, 2),
    transposed: (b) => b.transpose(0, 1),
    stepped: (b) => b.slice(0, 0, null, 2),
    flat: (b) => b.view([9]),
    "view of a view": (b) => b.narrow(0, 1, 2).transpose(0, 1).select(0, 2),
    squeezed: (b) => b.unsqueeze(0).narrow(1, 0, 2).squeeze(),
  };
  const constant = random([3, 3], 9).detach();
  const bases: Record<string, (x: Tensor) => Tensor> = {
    "a result": (x) => x.mul(1),
    "a constant": () => constant.clone(),
    "a transposed constant with an offset": () =>
      zeros([4, 3], { dtype: "float64" }).narrow(0, 1, 3).detach().transpose(0, 1).detach().copy_(constant) as Tensor,
  };

  for (const [baseName, makeBase] of Object.entries(bases)) {
    const rowMajor = !baseName.startsWith("a transposed"); // else view() refuses
    const names = Object.keys(views).filter((name) => rowMajor || name !== "flat");
    it.each(names)(`of ${baseName}: changing %s reaches all others`, (changed) => {
      const x = random([3, 3]);
      const factor = random([1], 5);
      for (const read of names) {
        for (const early of [true, false]) {
          const fn = (t: Tensor, f: Tensor): Tensor => {
            const base = makeBase(t);
            const before = early ? views[read]!(base) : null;
            const target = views[changed]!(base);
            target.mul_(f).add_(t.sum());
            const seen = before ?? views[read]!(base);
            return seen.mul(seen);
          };
          try {
            gradcheck((t, f) => fn(t!, f!), [x, factor]);
          } catch (error) {
            throw new Error(`${read} read, made ${early ? "before" : "after"}: ${(error as Error).message}`);
          }
        }
      }
    });
  }

  it("values and gradients flow both ways in a chain of changes", () => {
    const x = random([2, 3]);
    const w = random([3], 3);
    const fn = (t: Tensor, v: Tensor): Tensor => {
      const base = t.mul(2);
      const first = base.select(0, 0);
      const second = base.select(0, 1);
      first.add_(second.mul(3).sub(v)); // the first row from the second
      second.mul_(v).add_(first); // the second from the changed first
      base.add_(1);
      base.transpose(0, 1).select(0, 1).mul_(3);
      return base.add(first).mul(second);
    };
    gradcheck((t, v) => fn(t!, v!), [x, w]);
    gradgradcheck((t, v) => fn(t!, v!), [x, w]);
  });

  it("a loop of element assignments is differentiated", () => {
    // Cross-correlation written as two nested loops.
    const corr = (image: Tensor, kernel: Tensor): Tensor => {
      const [h, w] = [image.shape[0]! - kernel.shape[0]! + 1, image.shape[1]! - kernel.shape[1]! + 1];
      const y = zeros([h, w], { dtype: "float64" });
      for (let i = 0; i < h; i++) {
        for (let j = 0; j < w; j++) {
          const window = image.narrow(0, i, kernel.shape[0]!).narrow(1, j, kernel.shape[1]!);
          y.select(0, i).select(0, j).copy_(window.mul(kernel).sum());
        }
      }
      return y;
    };
    const image = random([4, 4]);
    const kernel = random([2, 3], 2);
    gradcheck((a, b) => corr(a!, b!), [image, kernel]);
    gradgradcheck((a, b) => corr(a!, b!), [image, kernel]);
  });

  it("the base starts to require gradients when a view is changed by something that does", () => {
    const base = zeros([2, 2], { dtype: "float64" });
    const sibling = base.select(0, 1);
    const other = base.select(0, 0);
    other.copy_(leaf([1, 2]).mul(3));
    expect(base.requiresGrad).toBe(true);
    expect(sibling.requiresGrad).toBe(true);
    expect(other.gradFn?.name).toBe("as_strided");
  });

  it("retainGrad follows a change, hooks stay with the version they were registered on", () => {
    const x = leaf([1, 2]);
    const y = x.mul(2);
    const seen: unknown[] = [];
    y.registerHook((g) => void seen.push(["old", ...(g.toArray() as number[])]));
    y.retainGrad();
    y.mul_(10);
    y.registerHook((g) => void seen.push(["new", ...(g.toArray() as number[])]));
    y.sum().backward();
    expect(seen).toEqual([
      ["new", 1, 1],
      ["old", 10, 10],
    ]);
    expect(y.grad!.toArray()).toEqual([1, 1]);
    expect(x.grad!.toArray()).toEqual([20, 20]);
  });

  it("retainGrad follows changes through views", () => {
    const x = leaf([1, 2]);
    const y = x.mul(2);
    const view = y.narrow(0, 0, 1);
    y.retainGrad();
    view.retainGrad();
    y.mul_(3);
    view.mul_(5);
    y.mul(tensor([7, 11], { dtype: "float64" }))
      .sum()
      .backward();
    expect(y.grad!.toArray()).toEqual([7, 11]);
    expect(x.grad!.toArray()).toEqual([2 * 3 * 5 * 7, 2 * 3 * 11]);
  });
});

describe.each(ways)("positions in the memory that is changed, on %s", (way) => {
  const numbers = (): Tensor<"int32"> => tensor([3, 0, 1, 2], { dtype: "int32" });

  it("are read before it is", () => {
    computing(way, () => {
      const x = numbers();
      expect(x.copy_(x.scatter(0, x, x)).toArray()).toEqual([0, 1, 2, 3]);
      const y = numbers();
      expect(y.copy_(y.indexAdd(0, y, y)).toArray()).toEqual([3, 1, 3, 5]);
      const z = numbers();
      expect(z.copy_(z.gather(0, z)).toArray()).toEqual([2, 3, 0, 1]);
    });
  });

  it("are refused by the kernels, which check them before they write", () => {
    computing(way, () => {
      const x = numbers();
      const tail = x.narrow(0, 1, 2);
      const written = /operand index lies in the memory of y, which is written; copy it first/;
      for (const kernel of ["scatter", "index_add", "gather", "index_select"] as const) {
        expect(() => run(kernel, "int32", [0, 1, 4, 4, 1], [numbers(), x, x])).toThrow(written);
        expect(() => run(kernel, "int32", [0, 1, 2, 2, 1], [numbers(), x, tail])).toThrow(written);
      }
      expect(x.toArray()).toEqual([3, 0, 1, 2]);
      expect(run("scatter", "int32", [0, 1, 2, 2, 1], [numbers(), zeros([2], { dtype: "int32" }), tail])).toBe(0);
      const [low, high] = [x.narrow(0, 0, 2), x.narrow(0, 2, 2)]; // side by side is no overlap
      expect(run("index_select", "int32", [0, 1, 4, 2, 1], [numbers(), high, low])).toBe(0);
    });
  });
});
