import { MdError } from "../base/md-error.ts";

const hexOf = (uuid: Uint8Array): string => Array.from(uuid, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** `xxxxxxxx:xxxxxxxx:xxxxxxxx:xxxxxxxx`, as mdadm prints array and device UUIDs. */
export const mdUuidText = (uuid: Uint8Array): string => (hexOf(uuid).match(/.{8}/g) ?? []).join(":");

/** `8-4-4-4-12`, as lockspaces, uevents and other tools write the same bytes. */
export const uuidText = (uuid: Uint8Array): string =>
  hexOf(uuid).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** 32 hexadecimal digits with any punctuation between them; anything else is E_VALUE. */
export function parseUuid(text: string): Uint8Array {
  const digits = text.replace(/[-:. ]/g, "");
  if (!/^[0-9a-fA-F]{32}$/.test(digits)) {
    throw new MdError("E_VALUE", `"${text}" is not a UUID: it takes 32 hexadecimal digits`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export const sameUuid = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
