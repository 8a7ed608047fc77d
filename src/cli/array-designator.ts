const UUID = /^(uuid=)?[0-9a-fA-F]{8}[-:. ]?(?:[0-9a-fA-F]{4}[-:. ]?){2,4}[0-9a-fA-F]+(?:[-:. ]?[0-9a-fA-F]+)*$/;
const NODE = /^(?:\/dev\/)?md_?d?\d+$|^\/dev\/md\/.|^\/dev\/mdctl\/.|^\/dev\/ublkb\d+$|^\/dev\/nbd\d+$/;

/** Does this word name an array and nothing else, whatever arrays there are (command line specification, 1.3)? */
export function isArrayDesignator(word: string): boolean {
  if (word.startsWith("uuid=")) return true;
  const digits = word.replace(/[-:. ]/g, "");
  return NODE.test(word) || (UUID.test(word) && digits.length === 32);
}

/** A word that may be the plain name of an array, or of something else: only the daemon can tell. */
export const isPlainName = (word: string): boolean => /^[^/\s=][^/=]*$/.test(word) && !/^\.{1,2}$/.test(word);

/** What `create` stores as the name when no `--name` is given: the last part of ARRAY. */
export const lastPart = (word: string): string => word.slice(word.lastIndexOf("/") + 1);
