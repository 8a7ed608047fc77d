import { LVB_SIZE } from "./lockspace.ts";

/** Value blocks travel as base64: 88 characters for 64 bytes. */
export function encodeLvb(lvb: Uint8Array): string {
  let chars = "";
  for (let at = 0; at < lvb.length; at++) chars += String.fromCharCode(lvb[at] ?? 0);
  return btoa(chars);
}

/**
 * Always a whole block, zeros where nothing was ever written (as dlm allocates them). One whose value nobody knew any
 * more when the locks were reported anew is the empty text, and not valid.
 */
export function decodeLvb(text: string): Uint8Array {
  const chars = atob(text);
  const lvb = new Uint8Array(LVB_SIZE);
  for (let at = 0; at < Math.min(chars.length, LVB_SIZE); at++) lvb[at] = chars.charCodeAt(at);
  return lvb;
}
