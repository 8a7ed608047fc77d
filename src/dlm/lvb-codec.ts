/** Value blocks travel as base64: 88 characters for 64 bytes. */
export function encodeLvb(lvb: Uint8Array): string {
  let chars = "";
  for (let at = 0; at < lvb.length; at++) chars += String.fromCharCode(lvb[at] ?? 0);
  return btoa(chars);
}

export function decodeLvb(text: string): Uint8Array {
  const chars = atob(text);
  const lvb = new Uint8Array(chars.length);
  for (let at = 0; at < lvb.length; at++) lvb[at] = chars.charCodeAt(at);
  return lvb;
}
