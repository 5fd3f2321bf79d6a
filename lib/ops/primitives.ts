import { installPrimitives } from "../autograd/primitives.js";
import { zeros } from "./create.js";
import { addInto, copy_, viewEdge } from "./inplace.js";
import { filled, unary } from "./kernel.js";
import { add } from "./pointwise.js";
import { defaultGenerator, type RandomState } from "./random.js";
import { sum } from "./reduce.js";
import { cast, clone, reshape, select, sumTo } from "./view.js";

// What the autograd engine needs of the ops (it knows none itself).
installPrimitives({
  add: (a, b) => add(a, b),
  addInto,
  filled,
  clone,
  cast,
  sumTo,
  viewEdge,
  oneHot(shape, dtype, element) {
    const t = filled(shape, dtype, 0);
    t.storage.array(dtype)[element] = 1;
    return t;
  },
  stack(rows, shape) {
    const first = rows[0]!;
    const table = zeros([rows.length, ...first.shape], { dtype: first.dtype });
    rows.forEach((row, i) => {
      copy_(select(table, 0, i), row);
    });
    return reshape(table, shape);
  },
  randomState: () => defaultGenerator.state,
  setRandomState(state) {
    defaultGenerator.state = state as RandomState;
  },
  hasNaN: (t) => Number(sum(unary("is_nan", t)).item()) > 0,
});
