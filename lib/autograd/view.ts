import { GradientError } from "../core/errors.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { autogradState } from "../core/tensor.js";
import { type Edge, replaceHistory } from "./node.js";
import { primitives } from "./primitives.js";

/**
 * The edge of a view whose base was changed in place since the view's node was made: a new node that reads the view out
 * of the base as it is now. undefined when the view's own node still holds.
 */
export function viewNode(view: Tensor): Edge | null | undefined {
  const relation = view.viewOf!;
  if (relation.version === view.storage.version) return undefined;
  if (!relation.base.requiresGrad) return undefined;
  if (relation.made === "unrecorded") {
    throw new GradientError(
      `a view ${format(view.shape)} made under noGrad (by ${relation.by}) is used while recording, but its base was changed in place ` +
        "meanwhile; make the view while recording, or detach() or clone() it under noGrad",
    );
  }
  const edge = primitives().viewEdge(relation.base, view);
  relation.version = view.storage.version;
  if (edge === null) autogradState(view).node = null;
  else replaceHistory(view, edge.node, edge.index);
  return edge;
}
