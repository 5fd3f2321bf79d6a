/** How modules print: PyTorch's text, so that people and tools read it as they know it. */

/** `(3, 5)`; `(3,)` for one entry, as Python writes it. */
export function tuple(values: readonly number[]): string {
  return values.length === 1 ? `(${values[0]},)` : `(${values.join(", ")})`;
}

/** A number as Python prints a float: `1e-05`, `0.1`, `1.0`. */
export function float(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

/** `True` or `False`. */
export function bool(value: boolean): string {
  return value ? "True" : "False";
}

/** A number, or one per dimension as a tuple: printed the way it was given. */
export function sizes(value: number | readonly number[]): string {
  return typeof value === "number" ? String(value) : tuple(value);
}

/** The text of a module: its own line, or its details and children indented by two. */
export function moduleText(name: string, details: string, children: readonly (readonly [string, string])[]): string {
  if (children.length === 0) return `${name}(${details})`;
  const lines = children.map(([child, text]) => `  (${child}): ${text.replaceAll("\n", "\n  ")}`);
  return [`${name}(`, ...(details === "" ? [] : [`  ${details}`]), ...lines, ")"].join("\n");
}
