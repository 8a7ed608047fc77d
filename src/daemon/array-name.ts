import { MdError } from "../base/md-error.ts";

/** The name without the host that it belongs to: `any:md0` -> `md0`. */
export const shortName = (stored: string): string => stored.slice(stored.indexOf(":") + 1);

/** `any:md0` -> `any`; null when the name has no host. */
export const homehostOf = (stored: string): string | null => {
  const colon = stored.indexOf(":");
  return colon < 0 ? null : stored.slice(0, colon);
};

/** A name that a new array may have. E_VALUE. It ends up in superblocks, file names, locks and on terminals. */
export function checkArrayName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9._+-]*$/.test(name)) return name;
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}...` : name);
  throw new MdError("E_VALUE", `array name ${shown} is not usable`, {
    why: "it takes letters, digits, dots, dashes, underscores and plus signs, and begins with a letter or digit",
  });
}

/** A file name for an array that others may have named: never a path, never hidden, never too long. */
export function fileNameOf(name: string, uuid: string): string {
  const plain = /^[A-Za-z0-9_][A-Za-z0-9._+-]{0,31}$/.test(name);
  return plain ? name : uuid.replaceAll(":", "").slice(0, 16);
}
