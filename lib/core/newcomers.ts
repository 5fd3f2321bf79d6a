import type { Block } from "./block.js";

/**
 * Owners of blocks that the addon does not watch yet. Most results are given back before any collection could have found
 * them lost, and then nobody need have watched them. Until it is watched an owner is held here, so there are few of them.
 */
const blocks: Block[] = [];
const owners: object[] = [];
let bytes = 0;

const most = 64;
/** Together they keep at most so many bytes from being found lost. */
const mostBytes = 1024 * 1024;

/** Whether `welcome` should be followed by a call of `introduce`. */
export function crowded(): boolean {
  return blocks.length >= most || bytes > mostBytes;
}

export function welcome(block: Block, owner: object): void {
  block.newcomer = blocks.length;
  blocks.push(block);
  owners.push(owner);
  bytes += block.capacity;
}

/** Forgets a block that is given back; false if it is none of these. */
export function dismiss(block: Block): boolean {
  const at = block.newcomer;
  if (at < 0) return false;
  const lastBlock = blocks.pop()!;
  const lastOwner = owners.pop()!;
  if (lastBlock !== block) {
    blocks[at] = lastBlock;
    owners[at] = lastOwner;
    lastBlock.newcomer = at;
  }
  block.newcomer = -1;
  bytes -= block.capacity;
  return true;
}

/** Hands all of them to `watch`; if it throws, those that it has not taken stay. */
export function introduce(watch: (id: number, owner: object) => void): void {
  for (let last = blocks.length - 1; last >= 0; last--) {
    const block = blocks[last]!;
    watch(block.id, owners[last]!);
    block.watched = true;
    dismiss(block);
  }
}
