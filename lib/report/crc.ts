/** Cyclic redundancy checks of 32 bits, reflected, as tables of the 256 bytes. */
function table(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let c = byte;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ polynomial : c >>> 1;
    return c;
  });
}

function check(entries: Uint32Array, bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = entries[(c ^ byte) & 0xff]! ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

const ieee = table(0xedb88320);
const castagnoli = table(0x82f63b78);

/** Of PNG, zip and gzip (ISO 3309). */
export function crc32(bytes: Uint8Array): number {
  return check(ieee, bytes);
}

/** Castagnoli's, of TFRecord, iSCSI and ext4 (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  return check(castagnoli, bytes);
}
