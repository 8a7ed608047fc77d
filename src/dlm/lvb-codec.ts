/** Value blocks travel as base64: 88 characters for 64 bytes. */
export const encodeLvb = (lvb: Uint8Array): string => btoa(String.fromCharCode(...lvb));

export const decodeLvb = (text: string): Uint8Array => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
