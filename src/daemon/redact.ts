/** Takes user names and passwords out of every URL in a text. */
export const redact = (text: string): string => text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, "$1***@");
