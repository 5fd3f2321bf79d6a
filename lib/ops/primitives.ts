import { installPrimitives } from "../autograd/primitives.js";
import { addInto, viewEdge } from "./inplace.js";
import { stack } from "./join.js";
import { filled, unary } from "./kernel.js";
import { add } from "./pointwise.js";
import { defaultGenerator, type RandomState } from "./random.js";
import { sum } from "./reduce.js";
import { cast, clone, reshape, sumTo } from "./view.js";

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
  stack: (rows, shape) => reshape(stack(rows), shape),
  randomState: () => defaultGenerator.state,
  setRandomState(state) {
    defaultGenerator.state = state as RandomState;
  },
  hasNaN: (t) => Number(sum(unary("is_nan", t)).item()) > 0,
});
