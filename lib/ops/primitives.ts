import { installPrimitives } from "../autograd/primitives.js";
import { unary } from "./kernel.js";
import { filled } from "./kernel.js";
import { addInto, viewEdge } from "./inplace.js";
import { add } from "./pointwise.js";
import { sum } from "./reduce.js";
import { cast, clone } from "./view.js";

// What the autograd engine needs of the ops (it knows none itself).
installPrimitives({
  add: (a, b) => add(a, b),
  addInto,
  filled,
  clone,
  cast,
  viewEdge,
  hasNaN: (t) => Number(sum(unary("is_nan", t)).item()) > 0,
});
