import type { DType } from "../core/dtype.js";
import { ArgumentError, IndexError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { letGo } from "../autograd/saved.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { ReLU, ReLU6 } from "./activation.js";
import { threeInOne } from "./conv_pool.js";
import { BatchNorm1d, BatchNorm2d, BatchNorm3d } from "./batch_norm.js";
import { Module } from "./module.js";
import { keepsNothing } from "./ownership.js";

function checkModule(call: string, value: unknown): asserts value is Module {
  if (!(value instanceof Module)) throw new ArgumentError(`${call}: needs modules, got ${describe(value)}`);
}

/** Modules by name, in order: what the containers share. */
abstract class Container extends Module {
  readonly #entries: Map<string, Module> = new Map();

  override *members(): Iterable<readonly [string, unknown]> {
    yield* super.members();
    yield* this.#entries;
  }

  override someChild(test: (child: Module) => boolean): boolean {
    for (const child of this.#entries.values()) if (test(child)) return true;
    return this.someField(test);
  }

  get length(): number {
    return this.#entries.size;
  }

  [Symbol.iterator](): Iterator<Module> {
    return this.#entries.values();
  }

  /** @internal */
  protected get entries(): Map<string, Module> {
    return this.#entries;
  }

  /** The module at a position; negative positions count from the end. */
  at(index: number): Module {
    const list = [...this.#entries.values()];
    const module = list.at(index);
    if (!Number.isInteger(index) || module === undefined || index < -list.length)
      throw new IndexError(`${this.displayName}: there is no module ${describe(index)} among ${list.length}`);
    return module;
  }

  protected put(call: string, name: string, module: unknown): void {
    checkModule(call, module);
    if (name === "" || name.includes("."))
      throw new ArgumentError(`${call}: a name must be a non-empty string without dots, got ${describe(name)}`);
    this.#entries.set(name, module);
  }
}

/**
 * Modules one after the other: each takes what the one before gives. They are named by position, or as in the object they
 * are given in.
 *
 *     new nn.Sequential(new nn.Conv2d(1, 8, 3), new nn.ReLU(), new nn.Flatten())
 *     new nn.Sequential({ conv: new nn.Conv2d(1, 8, 3), relu: new nn.ReLU() })
 */
export class Sequential extends Container {
  constructor(...modules: Module[] | [Readonly<Record<string, Module>>]) {
    super();
    const [first] = modules;
    if (modules.length === 1 && first !== null && typeof first === "object" && !(first instanceof Module)) {
      if (Array.isArray(first))
        throw new ArgumentError("Sequential: give the modules one by one: new Sequential(...list)");
      for (const [name, module] of Object.entries(first)) this.put("Sequential", name, module);
    } else {
      for (const module of modules) this.append(module as Module);
    }
  }

  /** Adds a module at the end. */
  append(module: Module): this {
    this.put("Sequential.append", String(this.length), module);
    return this;
  }

  /** The modules from `start` to before `end`, shared with this one, under their names. */
  slice(start?: number, end?: number): Sequential {
    const part = new Sequential();
    for (const [name, module] of [...this.entries].slice(start, end)) part.put("Sequential.slice", name, module);
    return part;
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D>;
  forward(x: unknown): unknown;
  forward(x: unknown): unknown {
    const modules = [...this];
    let value = x;
    let ours = false; // whether only modules that keep nothing have seen the value, since one of them made it
    for (let i = 0; i < modules.length; i++) {
      const module = modules[i]!;
      const before = value;
      const discreet = keepsNothing(module);
      const activation = fusable(module, modules[i + 1]);
      const pooled = threeInOne(module, modules[i + 1], modules[i + 2], value);
      if (pooled !== null) {
        value = pooled;
        i += 2;
      } else if (activation !== null) {
        value = (module as BatchNorm2d).forward(value as Tensor, { activation });
        i++;
      } else {
        value = (module.forward as (x: unknown) => unknown)(value);
      }
      const same = isTensor(before) && isTensor(value) && before.storage === value.storage;
      if (!same && ours && discreet && isTensor(before)) letGo(before);
      ours = discreet && (ours || !same);
    }
    return value;
  }
}

/** The activation behind a batch norm, if one pass can do both: neither may have hooks, which would miss a result. */
function fusable(module: Module, next: Module | undefined): "relu" | "relu6" | null {
  if (!(module instanceof BatchNorm2d || module instanceof BatchNorm1d || module instanceof BatchNorm3d)) return null;
  if (next === undefined || Object.hasOwn(module, "forward") || Object.hasOwn(next, "forward")) return null;
  return next.constructor === ReLU ? "relu" : next.constructor === ReLU6 ? "relu6" : null;
}

/** A list of modules, which `forward` of the module around calls as it likes. */
export class ModuleList extends Container {
  constructor(modules: Iterable<Module> = []) {
    super();
    this.extend(modules);
  }

  append(module: Module): this {
    this.put("ModuleList.append", String(this.length), module);
    return this;
  }

  extend(modules: Iterable<Module>): this {
    if (typeof modules !== "object" || modules === null || !(Symbol.iterator in modules) || ArrayBuffer.isView(modules))
      throw new ArgumentError(`ModuleList.extend: needs a list of modules, got ${describe(modules)}`);
    for (const module of modules) this.append(module);
    return this;
  }

  /** Puts a module in the place of another. */
  set(index: number, module: Module): void {
    this.at(index);
    this.put("ModuleList.set", String(index < 0 ? this.length + index : index), module);
  }

  forward(): never {
    throw new ArgumentError("ModuleList: a list has no forward of its own; call its modules, or use Sequential");
  }
}

/** Modules by name. */
export class ModuleDict extends Container {
  constructor(modules: Readonly<Record<string, Module>> = {}) {
    super();
    for (const [name, module] of Object.entries(modules)) this.set(name, module);
  }

  get(name: string): Module | undefined {
    return this.entries.get(name);
  }

  set(name: string, module: Module): this {
    this.put("ModuleDict.set", name, module);
    return this;
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  delete(name: string): boolean {
    return this.entries.delete(name);
  }

  keys(): string[] {
    return [...this.entries.keys()];
  }

  forward(): never {
    throw new ArgumentError("ModuleDict: it has no forward of its own; call its modules by name");
  }
}
